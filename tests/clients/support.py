"""What the suites of Python clients share: where Shardway is, keys of each shard, and how checks are run."""

import asyncio
import inspect
import os
import sys
import traceback
from itertools import count

PLAIN = os.environ["PLAIN_URL"]
"""A database in front of which nothing is sharded."""
SHOP = os.environ["SHOP_URL"]
"""A database over four shards."""

SHARDS = range(4)

_numbers = count(int(os.environ.get("FIRST_KEY", "5000000")))


def shard_of(key):
    """FNV-1a of the key's text, modulo four."""
    hashed = 0xCBF29CE484222325
    for byte in str(key).encode():
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return hashed % len(SHARDS)


def key(shard=0):
    """A key that no other check has, owned by this shard."""
    return next(number for number in _numbers if shard_of(number) == shard)


def run(module):
    """Runs every function named check_… of the suite; exits with 1 if one fails or there are none."""
    checks = {name: check for name, check in module.items() if name.startswith("check_")}
    failed = [name for name, check in checks.items() if not _passes(name, check)]
    print(f"{len(checks) - len(failed)} of {len(checks)} checks passed", *failed)
    sys.exit(1 if failed or not checks else 0)


def _passes(name, check):
    try:
        if inspect.iscoroutinefunction(check):
            asyncio.run(asyncio.wait_for(check(), 30))
        else:
            check()
    except Exception:
        print(f"{name}: failed\n{traceback.format_exc()}")
        return False
    print(f"{name}: ok")
    return True


class raises:
    """A block that must end with this exception, which is then at hand as `.error`."""

    def __init__(self, kind):
        self.kind = kind

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None:
            raise AssertionError(f"{self.kind.__name__} was not raised")
        self.error = error
        return issubclass(kind, self.kind)
