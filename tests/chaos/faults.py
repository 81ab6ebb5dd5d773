"""Faults that can be done to a running campaign, and what must hold afterwards. Each returns a `Result`."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flows.errors import CoterieError
from tests.chaos.campaigns import Small
from tests.chaos.processes import Process, busy_workers, descendants, is_alive, kill_family, raylets, still_there

# Ray's two agents tell the head that their daemon has died; when the head died too they wait a minute for it.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "dashboard/agent.py", "runtime_env/agent/main.py")
TOTAL_FRAGMENTS = 32  # of a `Small` campaign as it is by default


@dataclass
class Result:
    """One fault, done `times` times: what was seen, and what should not have been."""

    fault: str
    times: int = 0
    lost: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


def _lost(before: dict[str, int], after: dict[str, int]) -> int:
    return len(set(before) - set(after))


def _rewritten(before: dict[str, int], after: dict[str, int]) -> int:
    return sum(after.get(name, when) != when for name, when in before.items())


def _wait(condition: Callable[[], object], seconds: float) -> bool:
    """Look until the condition holds; False when it did not within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)  # between two looks at /proc
    return False


def _conclude(result: Result, campaign: Small, reference: Small | None) -> Result:
    try:
        result.wrong += campaign.faults()
        difference = campaign.difference(reference) if reference is not None else ""
    except CoterieError as error:
        difference = str(error)
    result.check(not difference, f"differs from the uninterrupted run: {difference}")
    return result


def driver_killed(folder: Path, times: int, reference: Small | None, seed: int = 0) -> Result:
    """SIGKILL the driver at random moments, starting it again each time, until it has been killed `times` times.

    Half of the moments are drawn by the clock, half by the number of finished fragments: on a busy machine most of a
    run's time is the start of Ray and Prefect.

    A campaign that ends before is followed by one with another folder, so that every kill hits a run with work to do.
    """
    result, chance, round_number = Result("driver killed at a random moment"), random.Random(seed), 0
    agents: list[tuple[float, Process]] = []
    while result.times < times and round_number < times:
        round_number += 1
        campaign = Small(folder / f"driver-{seed}-{round_number}")
        log = folder / f"driver-{seed}-{round_number}.log"
        typical = 20.0
        while result.times < times:
            before, began = campaign.fragments(), time.monotonic()
            process = campaign.start(log)
            try:
                if chance.random() < 0.5:
                    _wait(lambda p=process: p.poll() is not None, chance.uniform(0, 1.5 * typical))
                else:
                    far = max(chance.randrange(TOTAL_FRAGMENTS), len(before) + 1)
                    _wait(lambda p=process, c=campaign, f=far: p.poll() is not None or len(c.fragments()) >= f, 300)
                    _wait(lambda p=process: p.poll() is not None, chance.uniform(0, 0.5))
                if process.poll() is not None:
                    result.check(process.returncode == 0, f"exit code {process.returncode} without being killed")
                    break
                below = descendants(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                result.times += 1
                result.seen.append(f"{time.monotonic() - began:.0f} s, {len(campaign.fragments())} fragments")
                process.wait()
                killed_at = time.monotonic()
                _wait(lambda family=below: not still_there(family, but=AGENTS), 30)
                left = [p.command[:80] for p in still_there(below, but=AGENTS)]
                result.check(not left, f"processes outlived their driver by 30 s: {left}")
                agents += [(killed_at, agent) for agent in still_there(below)]
            finally:
                kill_family(process.pid)
            after = campaign.fragments()
            result.lost += _lost(before, after)
            result.twice += _rewritten(before, after)
            typical = max(typical, time.monotonic() - began)
        before = campaign.fragments()
        result.check(campaign.finish(log) == 0, "the last run did not succeed")
        after = campaign.fragments()
        result.lost += _lost(before, after)
        result.twice += _rewritten(before, after)
        _conclude(result, campaign, reference)
    for killed_at, agent in agents:
        seconds = killed_at + 120 - time.monotonic()
        result.check(_wait(lambda a=agent: not still_there([a]), max(1, seconds)), f"120 s later: {agent.command[:80]}")
    return result


def _killed_while_running(
    fault: str, choose: Callable[[int], list[Process]], folder: Path, times: int, reference: Small | None,
    per_campaign: int, pause: tuple[float, float], seed: int,
) -> Result:
    result, chance, round_number = Result(fault), random.Random(seed), 0
    while result.times < times and round_number < times:
        round_number += 1
        name = f"{fault.split()[0]}-{seed}-{round_number}"
        campaign, log, kills = Small(folder / name), folder / f"{name}.log", 0
        process, before = campaign.start(log), {}
        try:
            deadline = time.monotonic() + 900
            while process.poll() is None and time.monotonic() < deadline:
                if kills < per_campaign and result.times < times and _wait(lambda p=process: busy_workers(p.pid), 1):
                    time.sleep(chance.uniform(*pause))  # somewhere within a shard
                    victims = choose(process.pid)
                    if victims:
                        victim = chance.choice(victims)
                        os.kill(victim.pid, signal.SIGKILL)
                        kills, result.times = kills + 1, result.times + 1
                        # Not the same shards over and over: four deaths of one shard are its own fault to Ray.
                        far = len(campaign.fragments()) + 1
                        _wait(lambda p=process, c=campaign, f=far: p.poll() is not None or len(c.fragments()) > f, 120)
                now = campaign.fragments()
                result.lost, result.twice = result.lost + _lost(before, now), result.twice + _rewritten(before, now)
                before = now
            result.check(process.poll() == 0, f"{name}: exit code {process.poll()} after {kills} kills")
        finally:
            kill_family(process.pid)
        if kills == 0:
            result.wrong.append(f"{name}: nothing to kill was found")
            break
        _conclude(result, campaign, reference)
    return result


def workers_killed(folder: Path, times: int, reference: Small | None, seed: int = 0) -> Result:
    """SIGKILL worker processes in the middle of a shard; the campaign completes unaided."""
    return _killed_while_running(
        "worker killed mid-shard", busy_workers, folder, times, reference, 10, (0.0, 0.3), seed
    )


def raylets_killed(folder: Path, times: int, reference: Small | None, seed: int = 0) -> Result:
    """SIGKILL this machine's raylet; the driver dies with it, is started again, and the campaign completes unaided."""
    return _killed_while_running("raylet killed mid-shard", raylets, folder, times, reference, 3, (0.0, 2.0), seed)


def two_drivers(folder: Path, times: int, reference: Small | None, seed: int = 0) -> Result:
    """Start a second driver while one writes: it leaves with code 4 and says who holds the campaign."""
    result = Result("two drivers at once")
    for number in range(1, times + 1):
        campaign, log = Small(folder / f"two-{seed}-{number}", epochs=2000), folder / f"two-{seed}-{number}.log"
        first = campaign.start(log)
        try:
            _wait(lambda p=first: busy_workers(p.pid), 180)
            code = campaign.finish(folder / f"two-{seed}-{number}.second.log")
            said = (folder / f"two-{seed}-{number}.second.log").read_text(errors="replace")
            if first.poll() is not None and code == 0:
                result.seen.append("the first had ended before the second looked")
            else:
                result.times += 1
                result.check(code == 4 and "is being written by process" in said, f"second driver: exit code {code}")
                result.seen += [line for line in said.splitlines() if line.startswith("error:")]
            result.check(first.wait(600) == 0, f"first driver: exit code {first.poll()}")
        finally:
            kill_family(first.pid)
        _conclude(result, campaign, None)  # a longer recipe than the reference's
    return result


def interrupted(folder: Path, times: int, reference: Small | None, seed: int = 0) -> Result:
    """SIGTERM, as a scheduler's cancellation sends it: work stops in seconds, what is finished stays."""
    result = Result("cancelled (SIGTERM)")
    longest = 0.0
    for number in range(1, times + 1):
        campaign, log = Small(folder / f"term-{seed}-{number}", epochs=2000), folder / f"term-{seed}-{number}.log"
        process = campaign.start(log)
        try:
            _wait(lambda c=campaign: len(c.fragments()) >= 2, 240)
            before, busy = campaign.fragments(), [p.pid for p in busy_workers(process.pid)]
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            idle = _wait(lambda pids=busy: not any(map(is_alive, pids)), 60)
            longest = max(longest, time.monotonic() - began)
            result.check(idle, "workers were still there after 60 s")
            _wait(lambda p=process: p.poll() is not None, 60)
            result.check(process.poll() not in (0, None), f"60 s after SIGTERM the exit code is {process.poll()}")
            result.times += 1
        finally:
            kill_family(process.pid)
        middle = campaign.fragments()
        result.check(campaign.finish(log) == 0, "the rerun failed")
        after = campaign.fragments()
        result.lost += _lost(before, middle) + _lost(middle, after)
        result.twice += _rewritten(before, middle) + _rewritten(middle, after)
        _conclude(result, campaign, None)
    result.seen.append(f"workers gone after {longest:.1f} s at most")
    return result
