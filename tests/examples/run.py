"""Runs the C examples as their users would: robot, chat and server.   run.py FOLDER MODEL.rasp [NAME...]"""

import concurrent.futures
import errno
import json
import os
import signal
import socket
import subprocess
import sys

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


def ask(port, lines, wait=60):
    """What a client that asks these questions and says no more hears until it is left."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        connection.sendall(lines)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
    return heard.decode()


def server():
    it = program("server", "0")
    port = int(it.stdout.readline().rsplit(":", 1)[1])
    try:
        check_server(port)
        assert it.poll() is None
    finally:
        it.kill()
    assert it.stderr.read() == ""
    for wrong in ("70000", "-1", "x", ""):
        it = program("server", wrong)
        assert it.wait(20) == 1 and "port" in it.stderr.read(), wrong


def check_server(port):
    japan, france = (f"What is the capital of {land}? Answer in one short sentence.\n" for land in ("Japan", "France"))
    alone = [ask(port, question.encode()) for question in (japan, france)]
    assert "Tokyo" in alone[0] and "Paris" in alone[1] and all(text.endswith("\n") for text in alone), alone
    # Two questions at once are answered in order, the second over what the session holds of the first.
    assert ask(port, (japan + france).encode()) == alone[0] + alone[1]
    # Several at once hear what each hears alone; more than there are sessions for are turned away.
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: ask(port, (japan, france)[n % 2].encode()), range(6)))
    assert found == 3 * alone, found
    idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(8)]
    try:
        assert ask(port, japan.encode()) == ""
    except OSError as error:
        # Left before all was sent, before the end of it was, or after.
        assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN), error
    # One that goes in the middle of an answer makes room for another.
    idle[0].sendall(b"Write a very long story about a ship, with many chapters.\n")
    assert idle[0].recv(1)
    for connection in idle:
        connection.close()
    assert ask(port, japan.encode()) == alone[0]
    # What is no question: too long, no UTF-8, nothing at all.
    assert "too long" in ask(port, b"x" * 5000)
    assert ask(port, b"\xff\n").endswith("\n") and ask(port, b"half a question") == ""
    assert ask(port, b"word " * 800 + b"\n").endswith("\n")


for test in (robot, chat, server):
    if not NAMES or test.__name__ in NAMES:
        test()
        print(f"{test.__name__}: ok")
