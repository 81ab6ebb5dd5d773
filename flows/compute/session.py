"""The cluster session of a campaign: its address, its workers, and the user's own code that travels to the nodes."""

from __future__ import annotations

from contextlib import AbstractContextManager

from conf.schema import CampaignConfig
from flows.compute.ray_cluster import Cluster, session, start_session_in_background
from flows.games.table import own_modules
from flows.runtime.trust import refuse_unnamed_cluster


def session_of(config: CampaignConfig) -> AbstractContextManager[Cluster]:
    """Return the session in which a campaign's masks are evaluated (`flows.compute.ray_cluster.session`).

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    context manager of Cluster

    Raises
    ------
    NotNamed
        For a cluster that only a campaign's folder names.
    """
    refuse_unnamed_cluster(config.compute.ray_address)
    return session(config.compute.ray_address, config.compute.workers, own_modules(config))


def start_session_of(config: CampaignConfig) -> Cluster:
    """Begin to start the session that every stage in this process then shares.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    Cluster

    Raises
    ------
    NotNamed
        For a cluster that only a campaign's folder names.
    """
    refuse_unnamed_cluster(config.compute.ray_address)
    return start_session_in_background(config.compute.ray_address, config.compute.workers, own_modules(config))
