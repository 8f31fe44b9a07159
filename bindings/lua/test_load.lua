-- Models from memory and from open files, for test_chat.lua, whose tiny model they are made of.
local rasp = require 'rasp'
local ffi = require 'ffi'

local function fails(words, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok and tostring(message):find(words, 1, true), message)
end

local function answer(model)
    local session = model:open { context = 64 }
    model:close()
    collectgarbage()
    session:prefill { 1, 2, 3 }
    local found = {}
    for n = 1, 16 do found[n] = session:step() end
    return table.concat(found, ' ')
end

local path = arg[3]
local file = assert(io.open(path, 'rb'))
local bytes = file:read '*a'
local expected = answer(rasp.load(path))

-- Bytes are used in place, and held by the model and its sessions, here by nobody else.
local function copied()
    local memory = ffi.new('uint64_t[?]', math.ceil(#bytes / 8))
    ffi.copy(memory, bytes, #bytes)
    return memory
end
local memory = copied()
assert(answer(rasp.load_bytes(bytes)) == expected)
assert(answer(rasp.load_bytes(copied(), { size = #bytes, verify = true })) == expected)
fails('bad file', rasp.load_bytes, bytes:sub(1, -2))
fails('the size of the cdata is nil', rasp.load_bytes, memory)
fails('nil is no string', rasp.load_bytes)
fails('sise is no option', rasp.load_bytes, memory, { sise = #bytes })
fails('multiple of', rasp.load_bytes, ffi.cast('char *', memory) + 1, { size = #bytes - 1 })

-- In the middle of a file, by a file of io's and by a descriptor; neither need stay open.
local pak = os.tmpname()
local out = assert(io.open(pak, 'wb'))
out:write(('x'):rep(64), bytes, 'more')
out:close()
local inside = { offset = 64, length = #bytes }
local archive = assert(io.open(pak, 'rb'))
assert(archive:read(3) == 'xxx')
local models = { rasp.load_fd(archive, inside), rasp.load_fd(ffi.C.fileno(archive), inside), rasp.load_fd(file) }
-- Its position is neither used nor moved.
assert(archive:read(3) == 'xxx')
fails('out of range', rasp.load_fd, archive, { offset = 64, length = #bytes + 5 })
fails('bad file', rasp.load_fd, archive, { length = #bytes })
fails('offset is -1', rasp.load_fd, archive, { offset = -1 })
fails('ofset is no option', rasp.load_fd, archive, { ofset = 64 })
archive:close()
file:close()
fails('is no open file', rasp.load_fd, archive)
fails('nil is no open file', rasp.load_fd)
fails('-1 is no open file', rasp.load_fd, -1)
for _, model in ipairs(models) do assert(answer(model) == expected) end
os.remove(pak)
-- The string that nobody else holds.
local model = rasp.load_bytes(bytes)
bytes = nil
assert(answer(model) == expected)
