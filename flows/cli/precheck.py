"""What `coterie plan --precheck` prints."""

from __future__ import annotations

import json

from conf.schema import CampaignConfig
from flows.cli.as_json import plain
from flows.compute.session import session_of
from flows.forecast.precheck import precheck
from flows.runtime.environment import prepare
from flows.runtime.logs import log_to_stderr


def print_precheck(config: CampaignConfig, as_json: bool) -> None:
    """Evaluate a handful of masks and print whether outputs respond to the data.

    Parameters
    ----------
    config : CampaignConfig
    as_json : bool
        Print one JSON document in place of sentences.
    """
    log_to_stderr()
    prepare()
    with session_of(config) as cluster:
        found = precheck(config, cluster)
    if as_json:
        print(json.dumps(plain(found.as_json()), indent=2, ensure_ascii=False))
        return
    for sentence in found.sentences():
        print(sentence)
