"""Runs a command on a terminal of its own: kit_terminal.py COLUMNSxROWS TYPED COMMAND...

What is typed there is sent, piece by piece between "|", whenever the command is silent for a moment
("\\n" is the return key, "^C" the interrupt). Both streams are printed, with plain line ends; the exit
code is the command's, 128 and the number where a signal ended it. 0x0 is a terminal that does not
know its size.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

columns, rows = (int(n) for n in sys.argv[1].split("x"))
typed = [t.replace("\\n", "\n").replace("^C", "\x03").encode() for t in sys.argv[2].split("|") if t]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execvp(sys.argv[3], sys.argv[3:])
out, end = b"", time.time() + 20
while time.time() < end:
    ready, _, _ = select.select([fd], [], [], 0.3)
    if ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        out += data
    elif typed:
        os.write(fd, typed.pop(0))
else:
    os.kill(pid, signal.SIGKILL)
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(out.replace(b"\r\n", b"\n"))
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
