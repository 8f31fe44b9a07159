"""Runs the C examples as their users would: robot, chat and server.   run.py FOLDER MODEL.rasp [NAME...]"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

FOLDER, MODEL, *NAMES = sys.argv[1:]


def program(name, *arguments, **options):
    return subprocess.Popen([os.path.join(FOLDER, name), MODEL, *arguments], text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def read_until(pipe, end):
    """Reads characters until they end with `end`, which has to come."""
    text = ""
    while not text.endswith(end):
        char = pipe.read(1)
        assert char, f"the end of output after {text!r}, waiting for {end!r}"
        text += char
    return text


def robot():
    instructions = ["drive 5 metres", "turn right by 90 degrees", "stop now", "make me a sandwich", "", "x" * 450]
    out, err = program("robot", "60000").communicate("\n".join(instructions) + "\n")
    commands = [json.loads(line) for line in out.splitlines()]
    assert len(commands) == len(instructions), (out, err)
    for command in commands:
        assert set(command) == {"action", "amount"}, command
        assert command["action"] in ("drive", "left", "right", "stop") and 0 <= command["amount"] <= 180, command
    expected = [{"action": "drive", "amount": 5}, {"action": "right", "amount": 90}, {"action": "stop", "amount": 0}]
    assert commands[:3] == expected, commands
    # A deadline that nothing can meet: the robot stays as it is, and says so; the next instruction is a new one.
    out, err = program("robot", "1").communicate("drive 5 metres\nturn right by 90 degrees\n")
    assert [json.loads(line) for line in out.splitlines()] == 2 * [{"action": "stop", "amount": 0}], out
    assert err.count("keeping the last") == 2, err


def chat():
    it = program("chat", bufsize=1)
    read_until(it.stdout, "> ")
    it.stdin.write("Write a very long story about a ship, with many chapters.\n")
    read = read_until(it.stdout, " ")
    it.send_signal(signal.SIGINT)
    rest = read_until(it.stdout, "> ")
    assert "[cancelled]" in rest, read + rest
    # The conversation goes on, from its beginning after /reset.
    it.stdin.write("What is the capital of Japan?\n")
    read_until(it.stdout, "\n> ")
    it.stdin.write("/reset\n")
    read_until(it.stdout, "> ")
    it.stdin.write("What is the capital of France? Answer in one word.\n")
    answer = read_until(it.stdout, "\n> ")
    assert "Paris" in answer, answer
    it.stdin.close()
    assert it.wait(20) == 0 and it.stderr.read() == ""
    # Twice during an answer, and once at the prompt.
    it = program("chat", bufsize=1)
    read_until(it.stdout, "> ")
    it.send_signal(signal.SIGINT)
    assert it.wait(20) == 130


def call(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    data = json.dumps(body) if isinstance(body, (dict, list)) else body
    connection.request(method, path, data, headers or {})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def events(port, path, body):
    status, text = call(port, "POST", path, {**body, "stream": True})
    assert status == 200, text
    parts = text.decode().split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""] and all(part.startswith("data: ") for part in parts[:-1]), text
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def server():
    it = program("server", "0")
    port = int(it.stdout.readline().rsplit(":", 1)[1])
    try:
        check_server(port)
        assert it.poll() is None
    finally:
        it.kill()
    assert it.stderr.read() == ""


def check_server(port):
    assert call(port, "GET", "/health") == (200, b'{"status": "ok"}')
    chats, completions = "/v1/chat/completions", "/v1/completions"
    ask = {"messages": [{"role": "user", "content": "What is the capital of Japan? Answer in one short sentence."}],
           "temperature": 0, "max_tokens": 40}
    status, text = call(port, "POST", chats, ask)
    whole = json.loads(text)
    answer = whole["choices"][0]["message"]["content"]
    assert status == 200 and whole["object"] == "chat.completion" and "Tokyo" in answer, text
    assert whole["choices"][0]["finish_reason"] == "stop"
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] and usage["prompt_tokens"] > 10
    pieces = events(port, chats, ask)
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == answer and len(pieces) > 3
    assert [piece["choices"][0]["finish_reason"] for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    # Stop strings, one and several; a limit of tokens; text as it is.
    ask = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 12, "unknown": [{"a": [1e5, None]}]}
    plain = json.loads(call(port, "POST", completions, ask)[1])["choices"][0]
    assert plain["text"].startswith(" Paris.") and plain["finish_reason"] == "length", plain
    for stop in ("is.", ["never", "is."]):
        found = json.loads(call(port, "POST", completions, {**ask, "stop": stop})[1])["choices"][0]
        assert (found["text"], found["finish_reason"]) == (" Par", "stop"), found
    # What a stop string held back comes with the limit.
    held = json.loads(call(port, "POST", completions, {**ask, "stop": plain["text"] + "?"})[1])["choices"][0]
    assert held == plain, held
    found = "".join(e["choices"][0]["text"] for e in events(port, completions, {**ask, "stop": plain["text"] + "?"}))
    assert found == plain["text"], found
    # A seed repeats, another differs.
    drawn = [json.loads(call(port, "POST", completions, {**ask, "temperature": 1.5, "seed": seed})[1])["choices"]
             for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2], drawn
    # Every kind of escape reaches the model as the character it stands for.
    escaped = '{"max_tokens": 8, "temperature": 0, "prompt": "\\u0054he\\u0020capital of \\u0046rance is"}'
    assert json.loads(call(port, "POST", completions, escaped)[1])["choices"][0]["text"].startswith(" Paris.")
    assert call(port, "POST", completions, '{"max_tokens": 1, "prompt": "\\ud83e\\udd80 \\"\\\\\\/\\n\\u00e9"}')[0] == 200

    for body in ("", "[]", "{", "nothing", '{"prompt": 5}', '{"prompt": ""}', '{"prompt": "a"} x', '{"prompt": "a',
                 '{"prompt": "\\x"}', '{"prompt": "\\u12"}', '{"prompt": "\\ud800"}',
                 '{"prompt": "a", "stop": "\\u0000"}',
                 '{"prompt": "a", "max_tokens": 0}', '{"prompt": "a", "max_tokens": -1}', '{"prompt": "a", "stream": 1}',
                 '{"prompt": "a", "temperature": -1}', '{"prompt": "a", "top_p": 2}', '{"prompt": "a", "seed": -1}',
                 '{"prompt": "a", "stop": ["", "b"]}', '{"prompt": "a", "stop": ["1", "2", "3", "4", "5"]}',
                 '{"prompt": "a", "x": ' + "[" * 100 + "]" * 100 + "}", b'{"prompt": "\xff"}',
                 json.dumps({"prompt": "word " * 5000})):
        status, text = call(port, "POST", completions, body)
        assert status == 400 and json.loads(text)["error"]["message"], (body, status, text)
    for body in ("{}", '{"messages": []}', '{"messages": [{"role": "user"}]}', '{"messages": [1]}',
                 '{"messages": [{"role": "user", "content": 1}]}'):
        assert call(port, "POST", chats, body)[0] == 400, body
    assert call(port, "GET", "/nowhere")[0] == 404
    assert call(port, "GET", completions)[0] == 405 and call(port, "POST", "/health", "{}")[0] == 405
    assert call(port, "DELETE", completions)[0] == 405
    post = b"POST /v1/completions HTTP/1.1\r\n"
    for data, status in ((post + b"\r\n", b"411"), (post + b"Content-Length: x\r\n\r\n", b"400"),
                         (post + b"Content-Length: -5\r\n\r\n", b"400"),
                         (post + b"Content-Length: 2000000\r\n\r\n", b"413"),
                         (post + b"Content-Length: 99999999999999999999999\r\n\r\n", b"413"),
                         (post + b"Content-Length: 50\r\n\r\n{}", b"400"), (b"hello\r\n\r\n", b"400"),
                         (b"GET /health SPDY/9\r\n\r\n", b"400"), (b"GET /health HTTP/1.1\r\nA: \0\r\n\r\n", b"400"),
                         (b"GET / HTTP/1.1\r\nA: " + b"x" * 20000, b"431")):
        answer = raw(port, data)
        assert answer.startswith(b"HTTP/1.1 " + status), (data[:80], answer)
    assert raw(port, b"GET /hea") == b""

    # A body with any byte changed is answered, one way or the other.
    body = b'{"prompt": "A \\u00e9 \\n", "stop": ["x"], "temperature": 0.5, "max_tokens": 2, "stream": false, "z": {"a": [1]}}'
    chance = random.Random(1)
    for _ in range(80):
        at = chance.randrange(len(body))
        changed = body[:at] + bytes([chance.randrange(1, 256)]) + body[at + 1:]
        changed = changed.replace(b'"max_tokens": 2', b'"max_tokens": 1')
        if b'"max_tokens": 1,' in changed:
            assert call(port, "POST", completions, changed)[0] in (200, 400), changed

    # A client that goes in the middle of a stream is not waited for.
    ask = {"prompt": "Once upon a time", "temperature": 0, "max_tokens": 4000, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", completions, json.dumps(ask))
    assert connection.getresponse().read(100)
    connection.sock and connection.sock.close()
    connection.close()
    start = time.monotonic()
    assert call(port, "GET", "/health")[0] == 200 and time.monotonic() - start < 20


for test in (robot, chat, server):
    if not NAMES or test.__name__ in NAMES:
        test()
        print(f"{test.__name__}: ok")
