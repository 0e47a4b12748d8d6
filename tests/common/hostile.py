"""A name that contains terminal control sequences, and the characters that must not reach a terminal."""

import re

EVIL = "bad\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202egpj.mp4\udce4\r\n"
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
