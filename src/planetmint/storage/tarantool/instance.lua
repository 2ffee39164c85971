-- SPDX-License-Identifier: AGPL-3.0-or-later
-- A Tarantool server that a node starts and looks after: `tarantool instance.lua`, told everything by its
-- environment (see planetmint.storage.tarantool.instance). It logs to stderr and stops on SIGTERM.

local function setting(name)
    return os.getenv('PLANETMINT_TARANTOOL_' .. name)
end

local function text_of(path)
    local file = assert(io.open(path))
    local text = file:read('*a')
    file:close()
    return text
end

box.cfg({
    memtx_dir = setting('DIR'),
    wal_dir = setting('DIR'),
    vinyl_dir = setting('DIR'),
    work_dir = setting('DIR'),
    wal_mode = 'fsync',
    memtx_memory = tonumber(setting('MEMORY')),
    memtx_max_tuple_size = 64 * 1024 * 1024,
    checkpoint_interval = 3600,
    checkpoint_wal_threshold = 1024 * 1024 * 1024,
    checkpoint_count = 1,
    snap_io_rate_limit = 64,
    readahead = 1024 * 1024,
    log_level = 4,
    background = false,
})

-- Before it listens: nobody is told that a user or a procedure is missing which is about to be there.
assert(loadfile(setting('INSTALL')))(text_of(setting('PROCEDURES')), setting('USER'), setting('PASSWORD'))
if setting('SOCKET') ~= nil then
    os.remove(setting('SOCKET'))
end
box.cfg({listen = setting('SOCKET') and 'unix/:' .. setting('SOCKET') or setting('LISTEN')})
require('log').warn('ready')
