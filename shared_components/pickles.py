"""What a pickle of ``torch.save`` asks for, read before anything of it is made.

``torch.load`` runs no code of others, but calls what it knows with any number: a kilobyte may ask for gigabytes, and a
tuple that holds itself twice, sixty times over, is never done as the key of a table.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import IO, Any

import torch

STORAGE = "torch.storage.UntypedStorage"  # of the types without a storage of their own, such as uint16
ORDERED = "collections.OrderedDict"
COUNTER = "collections.Counter"  # in what schedules of learning rates keep
CALLED = {  # tensors, dense and not; those that are not are refused in words of ours once they are there
    *(ORDERED, COUNTER, "__builtin__.set", "builtins.set", "torch.Size", "torch.device"),
    *(f"torch._utils._rebuild_{kind}" for kind in ("tensor", "tensor_v2", "tensor_v3", "parameter")),
    *("torch._utils._rebuild_sparse_tensor", "torch.serialization._get_layout"),
    *("torch._utils._rebuild_nested_tensor", "torch._utils._rebuild_meta_tensor_no_storage"),
}
KEYED = 2  # of a table's entries; those of a list are single
HELD = "held"
MOST = 2**60  # nobody counts further
LEEWAY, TIMES = 10_000, 20  # values that tuples may hold written out: so many, and so many a byte


def check_pickle(data: IO[bytes]) -> None:
    """Follow a pickle up to its end without making anything.

    Args:
        data: where it begins.
    Raises:
        pickle.UnpicklingError: it calls something else than what makes tensors, or its tuples unfold without end.
        ValueError, LookupError, TypeError: it is no pickle, or damaged.
    """
    walk, start = _Walk(), data.tell()
    for opcode, argument, place in pickletools.genops(data):
        if opcode.name not in STEPS:
            raise pickle.UnpicklingError(f"unexpected {opcode.name}")
        step, *settings = STEPS[opcode.name]
        step(walk, argument, *settings)
        if walk.spent > LEEWAY + TIMES * (place - start):
            raise pickle.UnpicklingError("tuples within tuples without end")


class _Walk:
    """The stack of a pickle: a name stands for itself, a number for an atom or a tuple with as many values in it, all
    written out, and a list that begins with a number for a list or a table with as many, when they were put there.
    Once a tuple holds it, it gets no more of them.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.spent = 0  # values looked at by what has been called, and by tables for their keys

    def skip(self, argument: Any) -> None:
        pass

    def atom(self, argument: Any) -> None:
        self.stack.append(1)

    def table(self, argument: Any) -> None:
        self.stack.append([0])

    def put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    def get(self, argument: int) -> None:
        self.stack.append(self.memo[argument])

    def mark(self, argument: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _taken(self, count: int | None) -> list[Any]:
        """The last so many of the stack, or all since a mark."""
        if count is None:
            taken, self.stack = self.stack, self.marked.pop()
            return taken
        cut = len(self.stack) - count
        taken = self.stack[cut:]
        del self.stack[cut:]
        return taken

    def tuple(self, argument: Any, count: int | None) -> None:
        items = self._taken(count)
        for item in items:
            if isinstance(item, list):
                item[1:] = [HELD]
        size = 1 + sum(map(_values, items))
        self.stack.append(size)
        self.spent += size

    def entries(self, argument: Any, count: int | None, width: int) -> None:
        """Into a list, or into a table, where a key is hashed with all that it holds."""
        entries = self._taken(count)
        if HELD in self.stack[-1]:
            raise pickle.UnpicklingError("a table that grows within a tuple")
        self.stack[-1][0] = min(self.stack[-1][0] + sum(map(_values, entries)), MOST)
        self.spent += sum(map(_values, entries[::2])) if width == KEYED else 0

    def name(self, argument: str) -> None:
        self.stack.append(_named(argument))

    def call(self, argument: Any) -> None:
        function, arguments = self._taken(2)
        if function not in CALLED or (function == ORDERED and arguments != 1):
            raise pickle.UnpicklingError("a call of something that makes no tensor")
        self.stack.append([0] if function == ORDERED else arguments)
        self.spent += arguments

    def storage(self, argument: Any) -> None:
        self.stack[-1] = 1

    def attributes(self, argument: Any) -> None:
        """Of a table alone: those of a tensor would give it another size."""
        self.spent += self.stack.pop()[0]
        if not isinstance(self.stack[-1], list):
            raise pickle.UnpicklingError("attributes of something that is no table")


def _values(item: Any) -> int:
    if isinstance(item, list):
        return 1 + item[0]
    return item if isinstance(item, int) else 1


def _named(argument: str) -> str:
    module, _, name = argument.partition(" ")
    full = f"{module}.{name}"
    plain = module == "torch" and (
        name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)
    )
    if not plain and full not in CALLED and full != STORAGE:
        raise pickle.UnpicklingError(f"GLOBAL {full}")
    return full


ATOMS = (
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINSTRING"),
)
STEPS: dict[str, tuple[Any, ...]] = {  # what torch.load follows, but objects of classes
    **dict.fromkeys(ATOMS, (_Walk.atom,)),
    **dict.fromkeys(("PROTO", "STOP"), (_Walk.skip,)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), (_Walk.put,)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), (_Walk.get,)),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), (_Walk.table,)),
    "MARK": (_Walk.mark,),
    "EMPTY_TUPLE": (_Walk.tuple, 0),
    "TUPLE1": (_Walk.tuple, 1),
    "TUPLE2": (_Walk.tuple, 2),
    "TUPLE3": (_Walk.tuple, 3),
    "TUPLE": (_Walk.tuple, None),
    "APPEND": (_Walk.entries, 1, 1),
    "APPENDS": (_Walk.entries, None, 1),
    "SETITEM": (_Walk.entries, 2, KEYED),
    "SETITEMS": (_Walk.entries, None, KEYED),
    "GLOBAL": (_Walk.name,),
    "REDUCE": (_Walk.call,),
    "BINPERSID": (_Walk.storage,),
    "BUILD": (_Walk.attributes,),
}
