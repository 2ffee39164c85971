-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Puts the procedures into a running server and lets one user execute them, and nothing else. Takes the text of
-- procedures.lua, the user's name and a password (nil: the user is there already or needs none). Can be repeated;
-- a ledger that is there keeps its rows and its layout.

local text, user, password = ...

local procedures = assert(loadstring(text, '=planetmint'))()
procedures.prepare()
box.space.planetmint_meta:replace({'procedures', text, require('digest').sha1(text)})

if box.space._func.index.name:get('planetmint') == nil then
    box.schema.func.create('planetmint', {
        language = 'LUA',
        setuid = true,
        body = [[function(name, ...)
            local row = box.space.planetmint_meta:get('procedures')
            local loaded = rawget(_G, '_planetmint')
            if loaded == nil or loaded.digest ~= row[3] then
                loaded = {digest = row[3], procedures = assert(loadstring(row[2], '=planetmint'))()}
                rawset(_G, '_planetmint', loaded)
            end
            return loaded.procedures[name](...)
        end]],
    })
end

if user ~= 'guest' and not box.schema.user.exists(user) then
    box.schema.user.create(user)
end
if password ~= nil and password ~= '' and user ~= 'guest' then
    box.schema.user.passwd(user, password)
end
if user ~= 'admin' then
    box.schema.user.grant(user, 'execute', 'function', 'planetmint', {if_not_exists = true})
end
