"""Reads the frames of tests/corpus/wire with a reader of its own, in Python.

Owns: an independent reading of docs/reference/wire.md, for peers that are written in Python. Must
not know the other readers. Prints one line a failure and last `N passed, N failed`.
"""

import pathlib
import struct
import sys

HEADER = struct.Struct("<HBBHHQIIII")
MAGIC, VERSION = 0x4154, 1
KINDS = {1, 2, 3, 16, 17, 18, 19, 20}
CHECKED, KNOWN_FLAGS, ENCODINGS = 1, 0xF0F, 3
CRITICAL = 0x8000
PADDING, TRACE, PRINCIPAL, TENANT, DEADLINE, PAYLOAD = range(6)
LEVELS = {"header": 0, "structure": 1, "full": 2}
CLOCKS = {1: "monotonic", 2: "realtime"}
PARTS_MAX = 512
U32 = 1 << 32


class Fault(Exception):
    """A frame is refused; the argument is the name of the reason."""


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc_table()


def crc32c(data):
    """CRC-32C, RFC 3720 B.4."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def read_parts(value, critical, payload_length):
    if not critical or len(value) < 4 or (len(value) - 4) % 16 != 0:
        raise Fault("parts")
    (said,) = struct.unpack_from("<I", value)
    parts = list(struct.iter_unpack("<IIII", value[4:]))
    if not 1 <= len(parts) <= PARTS_MAX:
        raise Fault("parts")
    if any(length == 0 or offset + length >= U32 for _, _, offset, length in parts):
        raise Fault("parts")
    total = sum(part[3] for part in parts)
    if total != said or total + payload_length >= U32:
        raise Fault("parts")
    return parts


def read_known(kind, value, critical, payload_length):
    if kind == TRACE:
        if len(value) < 28:
            raise Fault("value")
        return value[4:20], value[20:28], value[0]
    if kind == DEADLINE:
        if len(value) < 12:
            raise Fault("value")
        clock, at_ns = struct.unpack_from("<B3xQ", value)
        if clock not in CLOCKS:
            raise Fault("clock")
        return clock, at_ns
    if kind == PAYLOAD:
        return read_parts(value, critical, payload_length)
    if not 1 <= len(value) <= 255:
        raise Fault("value")
    return None


def read_extensions(area, level, payload_length, known_types):
    """What is known of the extensions, by type; `known_types` is what this reader has heard of."""
    found = {}
    at = 0
    while at < len(area):
        tag, length = struct.unpack_from("<HH", area, at)
        end = at + 4 + length
        if end > len(area):
            raise Fault("extension")
        following = (end + 7) & ~7
        if level == LEVELS["full"] and any(area[end:following]):
            raise Fault("padding")
        kind, critical = tag & ~CRITICAL, tag & CRITICAL != 0
        if kind not in known_types:
            if critical:
                raise Fault("critical")
        elif kind != PADDING:
            if kind in found:
                raise Fault("duplicate")
            found[kind] = read_known(kind, area[at + 4 : end], critical, payload_length)
        at = following
    if TRACE in found and not any(found[TRACE][0]):
        del found[TRACE]
    return found


ALL_TYPES = frozenset(range(6))


def read(data, level, remote, known_types=ALL_TYPES):
    """The lines that a vector file has for a frame; raises Fault."""
    if len(data) < HEADER.size:
        raise Fault("short")
    magic, version, kind, flags, words, request, target, budget, length, crc = HEADER.unpack_from(
        data
    )
    if magic != MAGIC:
        raise Fault("magic")
    if version != VERSION:
        raise Fault("version")
    if kind not in KINDS:
        raise Fault("kind")
    if flags & ~KNOWN_FLAGS:
        raise Fault("flags")
    if flags >> 8 & 15 > ENCODINGS:
        raise Fault("encoding")
    begin = HEADER.size + words * 8
    if begin + length > len(data):
        raise Fault("length")
    if flags & CHECKED or level == LEVELS["full"]:
        end = begin + (length if flags & CHECKED else 0)
        if crc32c(data[:28] + bytes(4) + data[32:end]) != crc:
            raise Fault("checksum")
    found = {}
    if level != LEVELS["header"]:
        found = read_extensions(data[HEADER.size : begin], level, length, known_types)
    if remote and DEADLINE in found and CLOCKS[found[DEADLINE][0]] == "monotonic":
        raise Fault("clock")
    lines = [
        f"kind {kind}",
        f"flags {flags}",
        f"request_id {request}",
        f"target {target}",
        f"budget_us {budget}",
        f"length {begin + length}",
    ]
    if TRACE in found:
        trace_id, span_id, trace_flags = found[TRACE]
        lines.append(f"trace {trace_id.hex()} {span_id.hex()} {trace_flags}")
    if DEADLINE in found:
        lines.append("deadline {} {}".format(*found[DEADLINE]))
    lines += ["part {} {} {} {}".format(*part) for part in found.get(PAYLOAD, [])]
    lines.append(f"payload {data[begin : begin + length].hex()}".strip())
    return lines


def vector(text):
    level, remote, digits, fault, lines = 0, False, "", None, []
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in ("", "#"):
            continue
        if key == "level":
            level = LEVELS[value]
        elif key == "remote":
            remote = True
        elif key == "hex":
            digits += value
        elif key == "fault":
            fault = value
        else:
            lines.append(line)
    return level, remote, bytes.fromhex(digits), fault, lines


def without(lines, keys):
    return [line for line in lines if line.split(" ")[0] not in keys]


def check(path):
    """What is wrong with a file's reading, or None."""
    level, remote, data, fault, lines = vector(path.read_text("utf-8"))
    try:
        got = read(data, level, remote)
    except Fault as refused:
        return None if refused.args[0] == fault else f"{refused.args[0]}, expected {fault}"
    if fault is not None or got != lines:
        return f"read {got}, expected {fault or lines}"
    # A reader from before there were extensions sees the same, less what they say; only a critical
    # one keeps it from reading on.
    critical = any(line.startswith("part ") for line in lines) or path.stem == "trace-critical"
    try:
        old = read(data, level, remote, frozenset([PADDING]))
    except Fault as refused:
        stopped = critical and refused.args[0] == "critical" and level != LEVELS["header"]
        return None if stopped else f"an old reader says {refused.args[0]}"
    if critical or old != without(lines, ("trace", "deadline")):
        return f"an old reader reads {old}"
    return None


def main(folder):
    paths = sorted(pathlib.Path(folder).glob("*.frame"))
    wrong = [(path.name, problem) for path in paths if (problem := check(path)) is not None]
    for name, problem in wrong:
        print(f"{name}: {problem}")
    print(f"{len(paths) - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
