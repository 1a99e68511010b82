"""How a running job's controller asks its clients, and notices those that show no sign of life or are too slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial

from nvflare.apis.controller_spec import ClientTask, Task, TaskCompletionStatus
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.model_controller import ModelController

from shared_components.errors import InputError
from shared_components.federation.lane import tell_while
from shared_components.federation.nvflare.message import Message, read_message

PROBE_EVERY = 2.0  # seconds
START_WITHIN = 120.0  # seconds until a client's process must have been seen
GRACE = 30.0  # seconds beyond a client's time limit, which the site itself keeps, for its answer to arrive
SENDING = threading.Lock()
"""Held while a task is sent, in a context of its own: sending goes through all values of one and sets others, and a
study asks its sites from threads of their own."""
GONE = "its process died or its machine cannot be reached; it is asked again when it is back"
Ask = Callable[..., dict[str, Message]]
PROBE_TOPIC = "fedfoundry.alive"


class Aborted(InputError):
    """The job was asked to end."""


class Asking:
    """Asks clients of a job, all at once, and waits until each has answered or failed.

    Args:
        controller: of the job, whose ``run`` is at work.
        lost_after: seconds without a sign of life after which a client counts as gone.
        quiet: tell nothing.
    """

    def __init__(self, controller: ModelController, lost_after: float, quiet: bool = False) -> None:
        self._controller, self._lost_after, self._quiet = controller, lost_after, quiet
        self._seen: set[str] = set()
        self._silent: dict[str, float] = {}  # client to the time since which nothing has been heard of it
        self._probed = 0.0

    def ask(
        self, task: str, requests: Mapping[str, Message], doing: str, timeout: float | None = None
    ) -> dict[str, Message]:
        """Let clients do a task; what goes wrong with one of them is the ``failure`` of its answer.

        Args:
            task: its name, one of ``site_tasks.TASKS``.
            requests: client to what it is asked.
            doing: what they are doing, such as ``"round 3"``.
            timeout: seconds that each may take.
        Raises:
            Aborted: the job is to end.
        """
        futures: dict[str, Future] = {name: Future() for name in requests}
        connected = {client.name for client in self._controller.engine.get_clients()}
        self._probe([name for name in requests if name in self._silent])
        tasks = {}
        for name, request in requests.items():
            if name not in connected:
                _fail(futures[name], "it is not connected to the server")
            elif self._is_gone(name, at_once=True):
                _fail(futures[name], GONE)
            else:
                tasks[name] = self._send(task, name, request, timeout, futures[name])
        deadline = None if timeout is None else time.monotonic() + timeout + GRACE
        tell_while(futures, doing, self._quiet, meanwhile=lambda: self._watch(tasks, futures, deadline))
        return {name: future.result() for name, future in futures.items()}

    def check(self) -> None:
        """Raise if the job is to end.

        Raises:
            Aborted: it is.
        """
        if self._controller.abort_signal.triggered:
            raise Aborted("the job was aborted; whole rounds are kept, go on with --resume")

    def _send(self, task: str, name: str, request: Message, timeout: float | None, future: Future) -> Task:
        message = Message(request.values, request.tensors, request.files, timeout=timeout)
        data = FLModelUtils.to_shareable(message.model())
        sent = Task(name=task, data=data, result_received_cb=partial(_received, future))
        with SENDING, self._controller.engine.new_context() as context:
            self._controller.send(task=sent, fl_ctx=context, targets=[name])
        return sent

    def _watch(
        self, tasks: Mapping[str, Task], futures: Mapping[str, Future], deadline: float | None
    ) -> None:
        """Fail clients whose task has ended without an answer, or that are gone or too slow."""
        busy = [name for name in tasks if not futures[name].done()]
        if self._controller.abort_signal.triggered:
            self._cancel(tasks[name] for name in busy)
            self.check()
        self._probe(busy)
        late = deadline is not None and time.monotonic() > deadline
        for name in busy:
            status = tasks[name].completion_status
            if late or self._is_gone(name):
                self._cancel([tasks[name]])
                _fail(futures[name], "no answer in time (round_timeout)" if late else GONE)
            elif status is not None and status != TaskCompletionStatus.OK:
                _fail(
                    futures[name],
                    GONE if status == TaskCompletionStatus.CLIENT_DEAD else f"task {status.value}",
                )

    def _cancel(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            if task.completion_status is None:
                self._controller.cancel_task(task)

    def _probe(self, names: list[str]) -> None:
        now = time.monotonic()
        if not names or now - self._probed < PROBE_EVERY:
            return
        engine = self._controller.engine
        with engine.new_context() as context:
            replies = engine.send_aux_request(
                targets=names, topic=PROBE_TOPIC, request=Shareable(), timeout=PROBE_EVERY, fl_ctx=context,
                optional=True,
            )  # fmt: skip
        self._probed = time.monotonic()
        for name in names:
            reply = (replies or {}).get(name)
            # a process that has only just started does not know the topic yet
            if reply is not None and reply.get_return_code() in (ReturnCode.OK, ReturnCode.TOPIC_UNKNOWN):
                self._seen.add(name)
                self._silent.pop(name, None)
            else:
                self._silent.setdefault(name, now)

    def _is_gone(self, name: str, at_once: bool = False) -> bool:
        """Whether a client has been silent for too long; ``at_once``: it was already known to be."""
        if name not in self._silent:
            return False
        patience = self._lost_after if name in self._seen else START_WITHIN
        return time.monotonic() - self._silent[name] > (
            patience if not at_once else min(patience, self._lost_after)
        )


def _received(future: Future, client_task: ClientTask, fl_ctx: FLContext) -> None:
    """Called by NVFlare, in a thread of its own, with a client's answer."""
    result, client_task.result = client_task.result, None
    code = result.get_return_code()
    if code and code != ReturnCode.OK:
        _fail(future, f"its NVFlare client answered {code}; the cause is in its log")
        return
    try:
        answer = read_message(FLModelUtils.from_shareable(result))
    except (InputError, ValueError, TypeError) as error:
        answer = Message(failure=f"its answer cannot be read: {error}")
    _settle(future, answer)


def _fail(future: Future, failure: str) -> None:
    _settle(future, Message(failure=failure))


def _settle(future: Future, answer: Message) -> None:
    if not future.done():
        future.set_result(answer)


class Living(FLComponent):
    """Answers whoever asks whether this process is alive, from the start of the job on."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        if event_type == EventType.START_RUN:
            fl_ctx.get_engine().register_aux_message_handler(PROBE_TOPIC, _alive)


def _alive(topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
    return make_reply(ReturnCode.OK)
