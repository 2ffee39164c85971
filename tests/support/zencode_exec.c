/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A program that speaks the protocol of zencode-exec and runs contracts in the library of the `zenroom` package:
 * six lines on the standard input, of which the first is the configuration and the others are base64.
 * Built with -DENGINE='"/path/of/the/library"'. */

#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*engine)(const char *script, const char *configuration, const char *keys, const char *data);

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The next line without its end; NULL at the end of the input. */
static char *next_line(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length = getline(&line, &room, stdin);
    if (length < 0)
        return NULL;
    if (length > 0 && line[length - 1] == '\n')
        line[length - 1] = 0;
    return line;
}

/* NULL for an empty line. */
static char *decoded(const char *line) {
    if (line == NULL || line[0] == 0)
        return NULL;
    char *text = calloc(strlen(line) + 1, 1), *end = text;
    unsigned bits = 0, count = 0;
    for (; *line && *line != '='; line++) {
        bits = bits << 6 | (unsigned)(strchr(ALPHABET, *line) - ALPHABET);
        count += 6;
        if (count >= 8) {
            count -= 8;
            *end++ = (char)(bits >> count);
        }
    }
    return text;
}

int main(void) {
    struct pollfd input = {0, POLLIN, 0};
    if (poll(&input, 1, 0) != 1) {
        fputs("usage: stream | zencode-exec\n", stderr);
        return 1;
    }
    void *library = dlopen(ENGINE, RTLD_NOW);
    engine run = library ? (engine)dlsym(library, "zencode_exec") : NULL;
    if (run == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 127;
    }
    char *configuration = next_line();
    char *script = decoded(next_line()), *keys = decoded(next_line()), *data = decoded(next_line());
    int code = run(script ? script : "", configuration[0] ? configuration : NULL, keys, data);
    fflush(NULL);
    return code;
}
