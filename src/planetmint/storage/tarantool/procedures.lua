-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The ledger inside Tarantool: its spaces, the steps between their versions, and the procedures that a node calls.
--
-- The text of this file is kept in the database, so that the one function that a node may execute, `planetmint`,
-- finds it after a restart; install() at the end puts both there. Works with Tarantool 2.6 and later.
--
-- A transaction has a sequence number in commit order, an output a place: that number * 2^20 + its index. Ids are 32
-- raw bytes. Rows of a block come from the node as they are stored (MessagePack), so that nothing is taken apart
-- here. No procedure yields while it reads or writes; those that could be long answer in parts.

local ffi = require('ffi')
local fiber = require('fiber')
local msgpack = require('msgpack')

pcall(ffi.cdef, [[
    int box_insert(uint32_t space_id, const char *tuple, const char *tuple_end, void **result);
    int box_update(uint32_t space_id, uint32_t index_id, const char *key, const char *key_end,
        const char *ops, const char *ops_end, int index_base, void **result);
]])

local M = {version = 1, layout = 1}

local PLACES = 2 ^ 20
local PART_BYTES = 262144
local PART_ROWS = 1000

-- Layout ------------------------------------------------------------------------------------------------------

local SPACES = {'meta', 'blocks', 'transactions', 'outputs', 'postings', 'validators', 'elections'}

local function space(name)
    return box.space['planetmint_' .. name]
end

local function make(name, format)
    return box.schema.space.create('planetmint_' .. name, {if_not_exists = true, format = format})
end

-- From each version of the layout the step to the next one; each can be repeated after a crash in its middle.
local steps = {}

steps[0] = function()
    -- next: the sequence number after the block's last transaction; postings: rows in all blocks so far.
    make('blocks', {
        {name = 'height', type = 'unsigned'},
        {name = 'next', type = 'unsigned'},
        {name = 'postings', type = 'unsigned'},
        {name = 'header', type = 'string'},
        {name = 'seal', type = 'string'},
    }):create_index('height', {parts = {{1, 'unsigned'}}, if_not_exists = true})

    -- kind: code of the operation, and 16 where the transaction is an asset of its own. assets: the other ones.
    -- event: what the streams tell and the rest does not say.
    local transactions = make('transactions', {
        {name = 'sequence', type = 'unsigned'},
        {name = 'height', type = 'unsigned'},
        {name = 'kind', type = 'unsigned'},
        {name = 'event', type = 'array'},
        {name = 'id', type = 'string'},
        {name = 'assets', type = 'array'},
        {name = 'body', type = 'string'},
    })
    transactions:create_index('sequence', {parts = {{1, 'unsigned'}}, if_not_exists = true})
    transactions:create_index('id', {type = 'HASH', parts = {{5, 'string'}}, if_not_exists = true})

    -- asset: 0 for the transaction itself, n for the nth of its assets.
    local outputs = make('outputs', {
        {name = 'place', type = 'unsigned'},
        {name = 'spent', type = 'boolean'},
        {name = 'spender', type = 'unsigned'},
        {name = 'amount', type = 'unsigned'},
        {name = 'uri', type = 'string'},
        {name = 'keys', type = 'array'},
        {name = 'asset', type = 'unsigned'},
        {name = 'item', type = 'string', is_nullable = true},
    })
    outputs:create_index('place', {parts = {{1, 'unsigned'}}, if_not_exists = true})
    outputs:create_index('key', {
        parts = {{6, 'string', path = '[*]'}, {2, 'boolean'}, {1, 'unsigned'}},
        if_not_exists = true,
    })

    -- The transactions under one word, asset or content, one row a block: the first one's number, and the gaps.
    make('postings', {
        {name = 'term', type = 'string'},
        {name = 'first', type = 'unsigned'},
        {name = 'gaps', type = 'array'},
    }):create_index('term', {parts = {{1, 'string'}, {2, 'unsigned'}}, if_not_exists = true})

    make('validators', {
        {name = 'height', type = 'unsigned'},
        {name = 'validators', type = 'string'},
    }):create_index('height', {parts = {{1, 'unsigned'}}, if_not_exists = true})

    make('elections', {
        {name = 'id', type = 'string'},
        {name = 'record', type = 'string'},
    }):create_index('id', {parts = {{1, 'string'}}, if_not_exists = true})
end

-- What must be there before anything can be asked.
function M.prepare()
    make('meta', {{name = 'name', type = 'string'}, {name = 'value', type = 'any'}}):create_index(
        'name', {parts = {{1, 'string'}}, if_not_exists = true})
end

local function meta(name)
    local found = space('meta'):get(name)
    return found and found[2]
end

local function layout()
    return space('meta') and meta('layout') or 0
end

-- What the node is told about this server; `layout` 0: nothing was laid out yet.
function M.about()
    return {
        layout = layout(), procedures = M.version, wal_mode = box.cfg.wal_mode,
        read_only = box.info.ro,
        starting = box.info.status ~= 'running' or box.info.ro and not box.cfg.read_only,
        memory = box.slab.info().quota_size, used = box.slab.info().arena_used,
    }
end

-- Bring the layout to `target` (the present one); returns the version that it had.
function M.migrate(target)
    M.prepare()
    local before = layout()
    for version = before, (target or M.layout) - 1 do
        if steps[version] == nil then
            error('no way on from layout ' .. version, 0)
        end
        steps[version]()
        space('meta'):replace({'layout', version + 1})
    end
    return before
end

-- Delete the whole ledger, layout included. Says whether there was one. The epoch stays: who wrote to the old ledger
-- shall not write to the next one.
function M.drop()
    local had = layout() > 0
    for _, name in ipairs(SPACES) do
        if name ~= 'meta' and space(name) then
            space(name):drop()
        end
    end
    for _, name in ipairs({'layout', 'founding', 'chain'}) do
        space('meta'):delete(name)
    end
    return had
end

-- Writing -----------------------------------------------------------------------------------------------------

-- Run `work` in one transaction: true, or false, why nothing was done, and the code of the error where memory ended.
local function atomically(work, ...)
    if fiber.set_slice then
        -- Later servers end fibers that run for a second; many blocks together may take longer.
        fiber.set_slice({warn = 60, err = 600})
    end
    box.begin()
    local done, reason = pcall(work, ...)
    if not done then
        box.rollback()
        local full = type(reason) == 'cdata' and reason.type == 'OutOfMemory'
        return false, tostring(reason), full and box.error.MEMORY_ISSUE or 0
    end
    box.commit()
    return true
end

local function check_epoch(epoch)
    if meta('epoch') ~= epoch then
        error('another node has taken over this ledger', 0)
    end
end

-- Take over: from now on only saves of the epoch that is returned are accepted.
function M.fence(owner)
    local epoch = (meta('epoch') or 0) + 1
    space('meta'):replace({'epoch', epoch, owner})
    return epoch
end

-- As fence(), for a node that lost an answer: nothing where another one took over in between.
function M.fence_again(owner)
    local row = space('meta'):get('epoch')
    return row and row[3] == owner and M.fence(owner) or nil
end

local code_of_space = {'blocks', 'transactions', 'outputs', 'postings', 'validators'}

local function uint32(bytes, at)
    return bytes[at] + bytes[at + 1] * 256 + bytes[at + 2] * 65536 + bytes[at + 3] * 16777216
end

-- Insert rows: each is a code of a space (1 byte), a length (4 bytes, little-endian), and the row.
local function insert_rows(rows)
    local ids = {}
    for code, name in ipairs(code_of_space) do
        ids[code] = space(name).id
    end
    local bytes = ffi.cast('const uint8_t *', rows)
    local text = ffi.cast('const char *', rows)
    local at, last = 0, #rows
    while at < last do
        local from = at + 5
        local to = from + uint32(bytes, at + 1)
        if ffi.C.box_insert(ids[bytes[at]], text + from, text + to, nil) ~= 0 then
            box.error()
        end
        at = to
    end
end

local function place_of(ids, id, index)
    local found = ids:get(id)
    return found and found[1] * PLACES + index
end

local key = ffi.new('uint8_t[10]', 0x91)

-- Make `key` the MessagePack of a key of one number, in its shortest form, which is how keys are compared; returns
-- its length.
local function set_key(number)
    if number < 128 then
        key[1] = number
        return 2
    end
    local bytes, code = 8, 0xcf
    if number < 256 then
        bytes, code = 1, 0xcc
    elseif number < 65536 then
        bytes, code = 2, 0xcd
    elseif number < 4294967296 then
        bytes, code = 4, 0xce
    end
    key[1] = code
    for at = 1 + bytes, 2, -1 do
        key[at] = number % 256
        number = math.floor(number / 256)
    end
    return 2 + bytes
end

-- Mark outputs as spent: 32 bytes of id, 4 of index, 1 with the length of what follows: the operations of an update.
local function spend(spends)
    local outputs, ids = space('outputs'), space('transactions').index.id
    local bytes, text = ffi.cast('const uint8_t *', spends), ffi.cast('const char *', spends)
    local start = ffi.cast('const char *', key)
    local at, last = 0, #spends
    while at < last do
        local index, to = uint32(bytes, at + 32), at + 37 + bytes[at + 36]
        local place = place_of(ids, spends:sub(at + 1, at + 32), index)
        local output = place and outputs:get(place)
        if output == nil or output[2] then
            error(('output %d of transaction %s is not unspent'):format(index, spends:sub(at + 1, at + 32):hex()), 0)
        end
        local finish = start + set_key(place)
        if ffi.C.box_update(outputs.id, 0, start, finish, text + at + 37, text + to, 1, nil) ~= 0 then
            box.error()
        end
        at = to
    end
end

local function save(epoch, height, first, postings, rows, spends, elections, chain)
    check_epoch(epoch)
    local head = space('blocks').index.height:max()
    if head == nil or head[1] + 1 ~= height or head[2] ~= first or head[3] ~= postings then
        error(('block %d does not follow block %d'):format(height, head and head[1] or -1), 0)
    end
    insert_rows(rows)
    spend(spends)
    for place = 1, #elections, 2 do
        space('elections'):replace({elections[place], elections[place + 1]})
    end
    if chain ~= nil then
        space('meta'):replace({'chain', chain})
    end
end

-- Store blocks from `height` on, all or none; durable when this returns.
function M.save(...)
    return atomically(save, ...)
end

local function found(epoch, founding, chain, rows)
    check_epoch(epoch)
    if meta('founding') then
        error('a chain is founded here already', 0)
    end
    space('meta'):insert({'founding', founding})
    space('meta'):insert({'chain', chain})
    insert_rows(rows)
end

function M.found(...)
    return atomically(found, ...)
end

local function begin_chain(epoch, before, after)
    check_epoch(epoch)
    if meta('chain') ~= before then
        error('the chain record has changed meanwhile', 0)
    end
    space('meta'):replace({'chain', after})
end

function M.begin_chain(...)
    return atomically(begin_chain, ...)
end

-- Reading -----------------------------------------------------------------------------------------------------

function M.meta(name)
    return meta(name)
end

function M.head()
    return space('blocks').index.height:max()
end

local function validators()
    return space('validators').index.height:select({}, {iterator = 'REQ', limit = 2})
end

function M.validators()
    return validators()[1]
end

-- Known transactions as numbers in `ids` (32 bytes each); outputs (36 bytes each: id, index) with the number in
-- `refs`, the row, kind and assets of their transaction, and the spender's id; elections (32 bytes each).
function M.read_state(ids, refs, elections, known_sets)
    local by_id, transactions, outputs = space('transactions').index.id, space('transactions'), space('outputs')
    local known, records, votes = {}, {}, {}
    for at = 1, #ids, 32 do
        if by_id:get(ids:sub(at, at + 31)) then
            known[#known + 1] = (at - 1) / 32
        end
    end
    local bytes = ffi.cast('const uint8_t *', refs)
    for at = 0, #refs - 1, 36 do
        local transaction = by_id:get(refs:sub(at + 1, at + 32))
        local output = transaction and outputs:get(transaction[1] * PLACES + uint32(bytes, at + 32))
        if output then
            local spender = output[2] and transactions:get(output[3])
            records[#records + 1] = {
                at / 36, output, transaction[3], transaction[6], spender and spender[5] or box.NULL,
            }
        end
    end
    for at = 1, #elections, 32 do
        local election = space('elections'):get(elections:sub(at, at + 31))
        if election then
            votes[#votes + 1] = election[2]
        end
    end
    local sets, heights = validators(), {}
    for place, set in ipairs(sets) do
        heights[place] = set[1]
    end
    local newest = sets[1] and sets[1][1] ~= known_sets and sets[1][2] or box.NULL
    return known, records, votes, heights, newest, meta('chain')
end

local function body_of(transaction)
    return {transaction[1], transaction[5], transaction[7]}
end

function M.transaction(id)
    local found = space('transactions').index.id:get(id)
    return found and found[7]
end

-- Height, sequence number and kind.
function M.place_of(id)
    local found = space('transactions').index.id:get(id)
    if found then
        return {found[2], found[1], found[3]}
    end
end

-- The same of many ids of 32 bytes each; false for those that are not stored.
function M.places_of(ids)
    local places = {}
    for at = 1, #ids, 32 do
        places[#places + 1] = M.place_of(ids:sub(at, at + 31)) or false
    end
    return places
end

-- Number, id and body of some transactions, as many of the first ones as go into a part.
function M.bodies(sequences)
    local transactions, rows, size = space('transactions'), {}, 0
    for _, sequence in ipairs(sequences) do
        local transaction = transactions:get(sequence)
        if transaction then
            rows[#rows + 1] = body_of(transaction)
            size = size + transaction:bsize()
        else
            rows[#rows + 1] = {sequence, '', ''}
        end
        if size > PART_BYTES then
            break
        end
    end
    return rows
end

-- Rows from a key on while they are `wanted`, as many as go into a part; and whether there are more.
local function rows_from(index, key, wanted, most)
    local rows, size = {}, 0
    for _, row in index:pairs(key, {iterator = 'GE'}) do
        if not wanted(row) then
            break
        end
        if #rows == most or size > PART_BYTES then
            return rows, true
        end
        rows[#rows + 1] = row
        size = size + row:bsize()
    end
    return rows, false
end

-- The bodies of a block's transactions from number `from` on, up to `to` or as many as go into a part.
function M.bodies_between(from, to)
    local bodies, size = {}, 0
    for _, row in space('transactions'):pairs({from}, {iterator = 'GE'}) do
        if row[1] >= to or size > PART_BYTES then
            break
        end
        bodies[#bodies + 1] = row[7]
        size = size + row:bsize()
    end
    return bodies
end

-- A block's header, numbers of its first and after its last transaction, and its ids up to PART_ROWS * 10.
function M.summary(height)
    local blocks = space('blocks')
    local row = blocks:get(height)
    if row == nil then
        return nil
    end
    local before = height > 0 and blocks:get(height - 1)
    local first = before and before[2] or 0
    return {row[4], first, row[2], M.ids(first, row[2])}
end

-- Ids of transactions in one string.
function M.ids(from, to)
    local ids = {}
    for _, row in space('transactions'):pairs({from}, {iterator = 'GE'}) do
        if row[1] >= to or #ids == 10 * PART_ROWS then
            break
        end
        ids[#ids + 1] = row[5]
    end
    return table.concat(ids)
end

-- Height, number after the last transaction and header of blocks from a height on: with at most so many
-- transactions together, but one at least, and at most so many blocks. And the number of the first transaction.
function M.heads(from, most, blocks)
    local before = space('blocks'):get(from - 1)
    if before == nil then
        return 0, {}
    end
    local first, rows = before[2], {}
    for _, row in space('blocks'):pairs({from}, {iterator = 'GE'}) do
        if #rows == blocks or (#rows > 0 and row[2] - first > most) then
            break
        end
        rows[#rows + 1] = {row[1], row[2], row[4]}
    end
    return first, rows
end

-- What events are made of: id, kind, assets, event of transactions, and their outputs' places and keys.
function M.event_rows(from, to)
    local rows, last = {}, from
    for _, row in space('transactions'):pairs({from}, {iterator = 'GE'}) do
        if row[1] >= to or #rows == PART_ROWS then
            break
        end
        rows[#rows + 1] = {row[5], row[3], row[6], row[4]}
        last = row[1] + 1
    end
    local outputs, reached = {}, last
    for _, row in space('outputs'):pairs({from * PLACES}, {iterator = 'GE'}) do
        local sequence = math.floor(row[1] / PLACES)
        if sequence >= last then
            break
        end
        if #outputs >= 4 * PART_ROWS and sequence >= from + 1 and sequence * PLACES == row[1] then
            reached = sequence
            break
        end
        outputs[#outputs + 1] = {sequence, row[6]}
    end
    return rows, outputs, reached
end

-- Rows under each of some terms: `wanted` has term, number and so on. Rows that may hold numbers greater than the
-- one given come in order, as many as go into a part; and whether there are more.
function M.postings(wanted, most)
    local index, answers = space('postings').index.term, {}
    for place = 1, #wanted, 2 do
        local term, after = wanted[place], wanted[place + 1]
        local function same(row)
            return row[1] == term
        end
        local rows, more = rows_from(index, {term, after + 1}, same, most)
        if after >= 0 then
            local before = index:select({term, after}, {iterator = 'LE', limit = 1})[1]
            if before and same(before) then
                table.insert(rows, 1, before)
            end
        end
        answers[#answers + 1] = {rows, more}
    end
    return answers
end

-- The last row under each of some terms.
function M.last_postings(terms)
    local rows = {}
    for _, term in ipairs(terms) do
        local row = space('postings').index.term:select({term}, {iterator = 'REQ', limit = 1})[1]
        if row then
            rows[#rows + 1] = row
        end
    end
    return rows
end

-- Places and ids of outputs that list a key, from a place on; spent, unspent, or (nil) both, which come one after
-- the other.
function M.by_key(key, spent, from, most)
    local transactions, index, found = space('transactions'), space('outputs').index.key, {}
    for _, choice in ipairs({false, true}) do
        if spent == nil or spent == choice then
            local last, count = from - 1, 0
            for _, row in index:pairs({key, choice, from}, {iterator = 'GE'}) do
                -- Behind the last entry of this key come those of the next one, in whose rows it may stand, too.
                if count == most or row[1] <= last or index:get({key, choice, row[1]}) == nil then
                    break
                end
                last, count = row[1], count + 1
                local transaction = transactions:get(math.floor(last / PLACES))
                found[#found + 1] = {last, transaction and transaction[5] or ''}
            end
        end
    end
    return found
end

function M.elections(after, most)
    return space('elections'):select({after}, {iterator = 'GT', limit = most})
end

-- Checking ----------------------------------------------------------------------------------------------------

-- Rows of a space by their keys as MessagePack, byte by byte as they are stored; false for those that are missing.
-- As many of the first ones as go into a part.
function M.raw_rows(name, keys)
    local rows, size = {}, 0
    for place, key in ipairs(keys) do
        local row = space(name):get(key)
        rows[place] = row and msgpack.encode(row) or false
        size = size + (row and row:bsize() or 0)
        if size > PART_BYTES then
            break
        end
    end
    return rows
end

-- Of outputs of 36 bytes each (id, index): place, whether spent, number of the spender; false for missing ones.
function M.spends(refs)
    local bytes, by_id, found = ffi.cast('const uint8_t *', refs), space('transactions').index.id, {}
    for at = 0, #refs - 1, 36 do
        local place = place_of(by_id, refs:sub(at + 1, at + 32), uint32(bytes, at + 32))
        local row = place and space('outputs'):get(place)
        found[#found + 1] = row and {place, row[2], row[3]} or false
    end
    return found
end

-- Numbers of rows. Spent outputs are counted in slices.
function M.counts()
    local counts, spent = {}, 0
    for _, name in ipairs(SPACES) do
        counts[name] = space(name):len()
    end
    local place, more = -1, true
    while more do
        local rows = space('outputs'):select(place >= 0 and {place} or {}, {iterator = 'GT', limit = PART_ROWS})
        for _, row in ipairs(rows) do
            place = row[1]
            spent = spent + (row[2] and 1 or 0)
        end
        more = #rows == PART_ROWS
        fiber.yield()
    end
    counts.spent = spent
    return counts
end

return M
