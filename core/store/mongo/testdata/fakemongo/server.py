#!/usr/bin/python3
"""A MongoDB server for tests, where no mongod can be had: the wire protocol here, the
data and the planner in engine.py, matching, updating and aggregating by mongomock.

    server.py [--port N]      prints "listening on mongodb://127.0.0.1:N"

Needs Debian's python3-mongomock, python3-bson and python3-bson-ext. It keeps the data in
memory for as long as it runs. One command runs at a time, each as a whole; a stand-alone
mongod promises that per document, so nothing may depend on more (see engine.py for what
else it is strict about). It speaks OP_MSG, and OP_QUERY for a driver's first hello.
"""
import argparse
import asyncio
import datetime
import struct
import sys

import bson

from engine import Failure, Server

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CODEC = bson.codec_options.CodecOptions(tz_aware=False)


def hello():
    # 9 is MongoDB 4.4, the oldest that the driver takes. No sessions, no transactions.
    return {
        "ismaster": True, "isWritablePrimary": True, "helloOk": True, "readOnly": False,
        "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
        "localTime": datetime.datetime.utcnow(), "minWireVersion": 0, "maxWireVersion": 9, "ok": 1.0,
    }


def parse(body):
    """The command in an OP_MSG, its document sequences put where they belong."""
    flags, at, command, lists = struct.unpack_from("<I", body)[0], 4, None, {}
    end = len(body) - (4 if flags & 1 else 0)
    while at < end:
        kind, at = body[at], at + 1
        size = struct.unpack_from("<i", body, at)[0]
        if kind == 0:
            command = bson.decode(body[at:at + size], CODEC)
        else:
            name_end = body.index(0, at + 4)
            name = body[at + 4:name_end].decode()
            lists[name] = list(bson.decode_iter(body[name_end + 1:at + size], CODEC))
        at += size
    command.update(lists)
    return command


async def serve(server, reader, writer):
    try:
        while True:
            head = await reader.readexactly(16)
            length, request, _, opcode = struct.unpack("<iiii", head)
            body = await reader.readexactly(length - 16)
            if opcode == OP_QUERY:
                payload = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(hello())
                opcode = OP_REPLY
            elif opcode == OP_MSG:
                reply = answer(server, parse(body))
                if reply is None:  # a fail point closes the connection
                    return
                payload = struct.pack("<IB", 0, 0) + bson.encode(reply)
            else:
                raise ValueError("opcode %d" % opcode)
            writer.write(struct.pack("<iiii", 16 + len(payload), 0, request, opcode) + payload)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def answer(server, command):
    name = next(iter(command))
    if name.lower() in ("hello", "ismaster"):
        return hello()
    try:
        fault = server.fault(name, command)
        if fault and fault.get("closeConnection"):
            return None
        if fault and "errorCode" in fault:
            raise Failure(fault["errorCode"], "fail point", fault.get("errorMessage", "by fail point"))
        reply = server.run(name, command)
        if fault and "writeConcernError" in fault:
            reply["writeConcernError"] = fault["writeConcernError"]
        return dict(reply, ok=1.0)
    except Failure as failure:
        return {"ok": 0.0, "errmsg": failure.text, "code": failure.code, "codeName": failure.name}
    except Exception as error:  # what the fake cannot do must be seen, not guessed
        print("fakemongo: %r in %r" % (error, command), file=sys.stderr, flush=True)
        return {"ok": 0.0, "errmsg": "fakemongo: %r" % error, "code": 1, "codeName": "InternalError"}


async def main():
    args = argparse.ArgumentParser()
    args.add_argument("--port", type=int, default=0)
    server = Server()
    listener = await asyncio.start_server(lambda r, w: serve(server, r, w), "127.0.0.1", args.parse_args().port)
    print("listening on mongodb://127.0.0.1:%d" % listener.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it, who holds the other end of its standard input.
    await asyncio.get_event_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
