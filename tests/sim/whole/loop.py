"""Virtual time, and in it MicroPython's asyncio: tasks, cancelling and locks behave as they do on a board.

`Loop` keeps one queue of what happens when: steps of tasks and calls of the world. Time jumps to the next of them. A
task belongs to the machine that began it; when its power goes, its tasks are dropped where they stand.
"""

import heapq
import types


class CancelledError(BaseException):
    """As on a board: the value tells who cancelled."""

    @property
    def value(self):
        return self.args[0] if self.args else None


class TimeoutError(Exception):
    pass


class Task:
    """As MicroPython's: `state` is True while it runs, None when it ended and nobody waited, False when somebody did, a
    Waiting of those who wait. `data` is what it waits in, or what is to be thrown into it."""

    __slots__ = ("coro", "data", "due_us", "machine", "order", "state")

    def __init__(self, coro, machine):
        self.coro, self.machine = coro, machine
        self.data = None
        self.state = True
        self.order = None  # of its place in the queue; None: it is not there
        self.due_us = 0

    def done(self):
        return not self.state

    def __await__(self):
        if self.state is True:
            self.state = Waiting()
        elif not self.state:
            self.state = False
            self._give()
            return
        LOOP.current.data = self
        self.state.append(LOOP.current)
        yield
        self._give()

    def _give(self):
        if not isinstance(self.data, StopIteration):
            raise self.data

    def cancel(self):
        task = self
        if not task.state:
            return False
        if task is LOOP.current:
            raise RuntimeError("can't cancel self")
        while isinstance(task.data, Task):
            task = task.data
        if hasattr(task.data, "remove"):
            task.data.remove(task)
            LOOP.push(task)
        elif task.due_us > LOOP.now_us:
            LOOP.push(task)
        task.data = CancelledError
        return True


class Waiting(list):
    """Tasks that wait for something, first come first."""


class Loop:
    """One queue for all machines and the world. `late(machine)` gives how many µs later than asked a task wakes."""

    def __init__(self, now_us: int = 0):
        self.now_us = now_us
        self.current: Task | None = None
        self.late = lambda machine: 0
        self.steps = 0
        self._queue: list = []
        self._order = 0

    def push(self, task: Task, due_us: int | None = None) -> None:
        """Let a task go on at `due_us`, now without."""
        self._order += 1
        task.order = self._order
        task.data = None
        task.due_us = self.now_us if due_us is None else due_us
        heapq.heappush(self._queue, (task.due_us, self._order, task))

    def call(self, due_us: int, what, *arguments) -> None:
        """Let the world do something at `due_us`."""
        self._order += 1
        heapq.heappush(self._queue, (max(due_us, self.now_us), self._order, (what, arguments)))

    def run(self, until_us: int) -> None:
        """All that happens up to `until_us`."""
        queue, pop = self._queue, heapq.heappop
        while queue and queue[0][0] <= until_us:
            due_us, order, what = pop(queue)
            if due_us > self.now_us:
                self.now_us = due_us
            if type(what) is tuple:
                what[0](*what[1])
            elif what.order == order and what.machine.alive:
                self.steps += 1
                self._step(what)
        if self.now_us < until_us:
            self.now_us = until_us

    def _step(self, task):
        task.order = None
        self.current = task
        machine = task.machine
        try:
            thrown = task.data
            if not thrown:
                task.coro.send(None)
            else:
                task.data = None
                task.coro.throw(thrown)
        except (CancelledError, Exception) as e:
            self._ended(task, e)
        except BaseException as e:  # the power went, or it restarts
            machine.ends(e)
        finally:
            self.current = None
        machine.stepped()

    def _ended(self, task, error):
        waiting, task.state = task.state, None
        task.data = error
        if isinstance(waiting, Waiting):
            task.state = False
            for each in waiting:
                self.push(each)
            if waiting:
                return
        if not isinstance(error, (CancelledError, StopIteration)):
            task.state = None
            task.machine.uncaught(error)


LOOP = Loop()


def use(loop: Loop) -> None:
    """Make this the loop of everybody."""
    global LOOP
    LOOP = loop


@types.coroutine
def sleep_ms(ms):
    """Let others run for that long."""
    loop = LOOP
    task = loop.current
    loop.push(task, loop.now_us + max(0, ms) * 1000 + (loop.late(task.machine) if ms > 0 else 0))
    yield


def create_task(coro):
    machine = LOOP.current.machine
    task = Task(coro, machine)
    machine.tasks.append(task)
    LOOP.push(task)
    return task


async def _runner(waiter, awaited):
    try:
        result, status = await awaited, True
    except (CancelledError, Exception) as e:
        result, status = None, e
    if waiter.data is None and waiter.cancel():
        waiter.data = CancelledError(status, result)


async def wait_for_ms(awaited, timeout_ms):
    runner = create_task(_runner(LOOP.current, awaited))
    try:
        await sleep_ms(timeout_ms)
    except CancelledError as e:
        if e.value is None:
            runner.cancel()
            raise
        if e.value is True:
            return e.args[1]
        raise e.value from None
    runner.cancel()
    await runner
    raise TimeoutError


class Lock:
    """As MicroPython's: state is 0, 1 or the task that has it next."""

    def __init__(self):
        self.state = 0
        self._waiting = Waiting()

    def locked(self):
        return self.state == 1

    def release(self):
        if self.state != 1:
            raise RuntimeError("Lock not acquired")
        if self._waiting:
            self.state = self._waiting.pop(0)
            LOOP.push(self.state)
        else:
            self.state = 0

    @types.coroutine
    def acquire(self):
        task = LOOP.current
        if self.state:
            self._waiting.append(task)
            task.data = self._waiting
            try:
                yield
            except CancelledError:
                if self.state is task:
                    self.state = 1
                    self.release()
                raise
        self.state = 1
        return True

    async def __aenter__(self):
        return await self.acquire()

    async def __aexit__(self, *_):
        self.release()


class Stream:
    """One direction of a connection, as a board reads it. `feed` puts bytes in, `end` ends it."""

    def __init__(self):
        self.data = bytearray()
        self.error = None
        self.ended = False
        self._waiting = Waiting()

    def feed(self, data: bytes) -> None:
        self.data.extend(data)
        self.wake()

    def end(self, error=None) -> None:
        self.ended, self.error = True, error
        self.wake()

    def wake(self) -> None:
        while self._waiting:
            task = self._waiting.pop()
            LOOP.push(task)

    @types.coroutine
    def _more(self):
        task = LOOP.current
        self._waiting.append(task)
        task.data = self._waiting
        yield

    async def readexactly(self, count):
        while len(self.data) < count:
            if self.error:
                raise self.error
            if self.ended:
                raise EOFError
            await self._more()
        found = bytes(self.data[:count])
        del self.data[:count]
        return found


def module() -> types.ModuleType:
    """What `import asyncio` gives on a machine."""
    made = types.ModuleType("asyncio")
    for each in (CancelledError, TimeoutError, sleep_ms, create_task, wait_for_ms, Lock):
        setattr(made, each.__name__, each)
    return made
