from __future__ import annotations

import subprocess
import sys

from shared_components.benchmarks.process_tree import command, resident, tree, watched

PARENT = """
import subprocess, sys
program = "held = bytearray(b'x' * 50_000_000); print('ready', flush=True); input()"
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
child = subprocess.Popen([sys.executable, "-c", program], **pipes, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
input()
child.stdin.close()
child.wait()
"""


def test_a_tree_has_the_children_of_other_sessions_and_their_memory():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    assert tree(parent.pid) == [parent.pid, child]
    assert "held" in command(child) and command(2**22 + 1) == ""
    held, members = resident(parent.pid)
    assert members == 2 and 50_000_000 < held < 200_000_000
    assert resident(parent.pid)[0] - resident(child)[0] < 50_000_000
    with watched(parent.pid) as peak:
        parent.communicate("\n")
    assert peak.processes in (0, 1, 2) and tree(parent.pid) == [parent.pid]
