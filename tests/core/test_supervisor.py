"""Tasks that raise, end, are cancelled or make no progress: each is begun anew, and the watchdog knows."""

import asyncio

import gateway.supervisor
from check import equal, true
from gateway.supervisor import Supervisor
from parkgate.errors import LinkError
from parkgate.events import TASK_STALLED


class QuickLoop:
    """asyncio whose waits are one turn each."""

    CancelledError = asyncio.CancelledError
    create_task = staticmethod(asyncio.create_task)

    @staticmethod
    async def sleep_ms(_ms):
        await asyncio.sleep(0)


gateway.supervisor.asyncio = QuickLoop


class NeverRaised(Exception):
    pass


def turn(coroutine):
    """Run it, and end the tasks that it began without a word in their supervisor's books."""
    loop = asyncio.new_event_loop()
    set_loop = getattr(asyncio, "set_event_loop", None)
    if set_loop:
        set_loop(loop)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        if hasattr(asyncio, "all_tasks"):  # CPython reports tasks that are thrown away while they wait
            tasks = asyncio.all_tasks(loop)
            QuickLoop.CancelledError = NeverRaised  # so that the supervisor lets a cancelled task end
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            QuickLoop.CancelledError = asyncio.CancelledError
            loop.close()


class Owner:
    turned_ms = 0


class Log:
    def __init__(self, world):
        self.world = world
        self.said = []

    def error(self, who, text):
        if self.world.memory_is_full:
            raise MemoryError("memory allocation failed")
        self.said.append((who, text))


class World:
    """A supervisor with a clock that a test moves. `run(coroutine)` runs it with the loop and ends all."""

    def __init__(self):
        self.now_ms = 0
        self.events = []
        self.restarts = 0
        self.memory_is_full = False
        self.restart_fails = None
        self.log = Log(self)
        self.supervisor = Supervisor(self.note, self.restart, lambda: self.now_ms, self.log)

    def note(self, event):
        self.events.append(event)

    def stalls(self):
        """The events of tasks that stalled; where one hung is another event, on MicroPython alone."""
        return [event for event in self.events if event[0] == TASK_STALLED]

    def restart(self):
        self.restarts += 1
        if self.restart_fails:
            raise self.restart_fails


def test_whatever_a_task_raises_it_is_begun_again():
    world = World()
    raised = [ValueError("v"), LinkError("l"), MemoryError("m"), asyncio.CancelledError(), OSError(5)]
    begun = []

    async def fails():
        begun.append(1)
        if len(begun) <= len(raised):
            raise raised[len(begun) - 1]
        await asyncio.sleep(0)

    async def main():
        task = world.supervisor.start("t", fails)
        for _ in range(60):
            await asyncio.sleep(0)
        true(not task.done())

    turn(main())
    true(len(begun) > len(raised), len(begun))
    equal(world.supervisor.crashes, 4, "a LinkError is no fault of the program")


def test_no_memory_to_say_it_in_ends_nothing():
    world = World()
    world.memory_is_full = True
    begun = []

    async def fails():
        begun.append(1)
        raise MemoryError("memory allocation failed")

    async def main():
        world.supervisor.start("t", fails)
        for _ in range(20):
            await asyncio.sleep(0)

    turn(main())
    true(len(begun) >= 5)
    equal(world.supervisor.crashes, len(begun))


def stalled(world, times, apart_ms):
    """A task that hangs each time; the supervisor looks as often as the loop turns."""
    owner, begun = Owner(), []

    async def hangs():
        begun.append(world.now_ms)
        owner.turned_ms = world.now_ms
        await asyncio.Event().wait()

    async def main():
        world.supervisor.start("sample", hangs, owner, 180000)
        fed = True
        for _ in range(times):
            for _ in range(5):
                await asyncio.sleep(0)
            world.now_ms += apart_ms
            fed = world.supervisor.look()
        for _ in range(5):
            await asyncio.sleep(0)
        return fed

    return begun, turn(main())


def test_a_task_that_hangs_is_an_event_and_is_begun_again():
    world = World()
    begun, fed = stalled(world, 1, 180001)
    equal(world.stalls(), [[TASK_STALLED, "sample", 0, 180001]])
    equal(world.restarts, 0)
    equal(fed, True)
    equal(begun, [0, 180001])


def test_within_its_bound_a_task_is_left_alone():
    world = World()
    begun, fed = stalled(world, 1, 180000)
    equal((begun, world.events, fed), ([0], [], True))


def test_a_second_stall_within_an_hour_restarts_and_starves_the_watchdog():
    world = World()
    begun, fed = stalled(world, 2, 200000)
    equal(begun, [0, 200000])
    equal([event[:3] for event in world.stalls()], [[TASK_STALLED, "sample", 0], [TASK_STALLED, "sample", 1]])
    equal((world.restarts, fed), (1, False))
    world.restart_fails = OSError(5)
    equal(world.supervisor.look(), False, "also when the restart fails: then the watchdog bites")
    equal(world.restarts, 2)


def test_stalls_that_are_far_apart_do_not_restart():
    world = World()
    begun, fed = stalled(world, 3, 3600001)
    equal(len(begun), 4)
    equal((world.restarts, fed), (0, True))
    equal(world.supervisor.stalls, 3)


def test_a_journal_that_fails_does_not_save_a_task_that_hangs():
    world = World()

    def note(_event):
        raise MemoryError("memory allocation failed")

    world.supervisor._note = note
    begun, _ = stalled(world, 2, 200000)
    equal((len(begun), world.restarts), (2, 1))


def test_what_is_given_up_restarts_with_the_reason_in_the_journal():
    world = World()
    world.supervisor.give_up("network", 900000)
    equal(world.events, [[TASK_STALLED, "network", 1, 900000]])
    equal((world.restarts, world.supervisor.look()), (0, False))
    equal(world.restarts, 1)
