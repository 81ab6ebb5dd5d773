"""Create the automations that look after lost runs; run it again after `prefect deploy` and nothing is made twice.

A host that dies takes its flow run's process and its worker with it, and Prefect leaves the run Running for ever. Runs
send heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 in prefect.yaml):

- `coterie: lost runs` marks a run crashed when none came for 90 s.
- `coterie: resume <deployment>` starts the deployment again a little after a crash. A new run and not a retry, because
  a retry within seconds of a crash is overwritten by the second report of that crash. Nothing is trained twice:
  what is finished is in the campaign's folder.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture

HEARTBEAT = "prefect.flow-run.heartbeat"
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Skipped")}
DEPLOYMENTS = ("top-up/nightly", "weekly/weekly")


def lost_runs(seconds: int = 90) -> Automation:
    """A run whose heartbeats stopped is marked crashed."""
    return Automation(
        name="coterie: lost runs",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDED},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(
                type="change-flow-run-state", state=StateType.CRASHED, message=f"no heartbeat for {seconds} s"
            )
        ],
    )


def resume(deployment: str, deployment_id: object, seconds: int = 20) -> Automation:
    """A crashed run of the deployment is followed by a new one."""
    return Automation(
        name=f"coterie: resume {deployment}",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match_related={
                "prefect.resource.id": f"prefect.deployment.{deployment_id}",
                "prefect.resource.role": "deployment",
            },
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                type="run-deployment", source="selected", deployment_id=deployment_id,
                schedule_after=timedelta(seconds=seconds),
            )
        ],
    )


def main() -> None:
    """Create what is missing."""
    with get_client(sync_client=True) as client:
        wanted = [lost_runs()]
        wanted += [resume(name, client.read_deployment_by_name(name).id) for name in DEPLOYMENTS]
    for automation in wanted:
        try:
            existing = Automation.read(name=automation.name)
        except ValueError:
            existing = None
        if existing is None:
            automation.create()
        print(f"{'kept' if existing else 'made'}: {automation.name}")


if __name__ == "__main__":
    main()
