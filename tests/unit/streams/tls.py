# SPDX-License-Identifier: AGPL-3.0-or-later
"""A certificate for `localhost` and its key, for tests only: everybody knows the key."""

from pathlib import Path

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUFlAPoB6tSf5Vn09jYyD7MrwJx74wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE5MjkwMFoYDzIxMjYxMDMw
MTkyOTAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARSrapBWxwYkVSUWtAOgnRy51+75tlNf4QQmiIuJYNA54Fq7x9mp7G4
1L69oNlvlX6Mh640Y8gAVKbH9QsVBjbpo28wbTAdBgNVHQ4EFgQU9ICjR3nrlUN3
eQ1zkB2hDp2HAm4wHwYDVR0jBBgwFoAU9ICjR3nrlUN3eQ1zkB2hDp2HAm4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgZM3cg9TgemHsRN2eziCcPssaXIL2ECAc21cc5PPL5L0CIAUP
chs9ZOa2VH4gFr8zRvSGGsfCzijB0onQysKtBJRT
-----END CERTIFICATE-----
"""

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeIvvjrOsRTXoiKfo
lMDpxGUQC2TIDEUJmyu3SbEg+zKhRANCAARSrapBWxwYkVSUWtAOgnRy51+75tlN
f4QQmiIuJYNA54Fq7x9mp7G41L69oNlvlX6Mh640Y8gAVKbH9QsVBjbp
-----END PRIVATE KEY-----
"""


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """Write both into `folder`; paths of the certificate and of the key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(_CERTIFICATE)
    key.write_text(_KEY)
    return certificate, key
