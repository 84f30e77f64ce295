"""What the one-shot containers of docker-compose.yml run; each may run again and again.

    python set_up.py users     as a superuser: passwords, the roles of roles.json, a user of each
    python set_up.py sample    as the user of ingest: the sample catalogue, where there is no index yet

Where the cluster is, and who calls, are the package's own settings (ES_XMODAL_URL, ES_XMODAL_USERNAME,
ES_XMODAL_PASSWORD or ..._FILE, ES_XMODAL_CA_CERTS). `users` also reads SEARCH_PASSWORD, INGEST_PASSWORD and,
where there is a Kibana, KIBANA_PASSWORD. The index is ES_XMODAL_INDEX, else `products`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from es_xmodal.cluster.client import Client, connect
from es_xmodal.cluster.errors import cluster_errors
from es_xmodal.errors import SettingsError, XModalError
from es_xmodal.index.names import check_name
from es_xmodal.index.target import find_indices
from es_xmodal.resources import data_path
from es_xmodal.settings import load_settings

ROLES = Path(__file__).resolve().with_name("roles.json")
USERS = {"es_xmodal_search": "SEARCH_PASSWORD", "es_xmodal_ingest": "INGEST_PASSWORD"}
"""User, who bears the role of the same name, to the variable of its password."""
LEAST_PASSWORD_CHARS = 12


def roles(index: str) -> dict[str, dict[str, Any]]:
    """Return the roles, with this index (its alias, its versions) for the `products` of the file."""
    written: dict[str, dict[str, Any]] = json.loads(ROLES.read_text(encoding="utf-8"))
    for role in written.values():
        for one in role["indices"]:
            one["names"] = [name.replace("products", index) for name in one["names"]]
    return written


def passwords(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Read the passwords, all before the first one is set.

    Raises:
        SettingsError: one is missing or short.
    """
    found = {name: environment.get(name, "") for name in names}
    for name, password in found.items():
        if len(password) < LEAST_PASSWORD_CHARS:
            raise SettingsError(
                f"{name}: needs {LEAST_PASSWORD_CHARS} characters or more",
                hint="deploy/make-env.sh makes them",
            )
    return found


def set_up_users(client: Client, index: str, environment: Mapping[str, str]) -> list[str]:
    """Set passwords, put roles and users; what is there already becomes the same again.

    Returns:
        What was done, a line each.
    """
    kibana = "KIBANA_PASSWORD" in environment
    secret = passwords(environment, [*USERS.values(), *(["KIBANA_PASSWORD"] if kibana else [])])
    done = []
    with cluster_errors(client, "setting up users"):
        if kibana:
            client.security.change_password(username="kibana_system", password=secret["KIBANA_PASSWORD"])
            done.append("password of kibana_system")
        for name, role in roles(index).items():
            client.security.put_role(name=name, **role)
            done.append(f"role {name}")
        for name, variable in USERS.items():
            client.security.put_user(username=name, password=secret[variable], roles=[name])
            done.append(f"user {name}")
    return done


def set_up_sample(client: Client, index: str) -> list[str]:
    """Return the command that ingests the sample catalogue; nothing where the index is there."""
    if find_indices(client, index):
        return []
    return ["es-xmodal", "ingest", str(data_path("ingest", "sample", "catalog.jsonl")), "--index", index]


def main(args: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run one of the two; errors are one line.

    Returns:
        Exit code, as that of `es-xmodal`, which takes over this process where there is something to ingest.
    """
    if list(args) not in (["users"], ["sample"]):
        click.echo("set_up.py: write `users` or `sample`", err=True)
        return 2
    index = environment.get("ES_XMODAL_INDEX") or "products"
    command: list[str] = []
    try:
        with closing(connect(load_settings())) as client:
            if args[0] == "users":
                done = [f"set up: {line}" for line in set_up_users(client, check_name(index), environment)]
            else:
                command = set_up_sample(client, check_name(index))
                done = [] if command else [f"the index {index} is there: the sample is left out"]
    except XModalError as error:
        click.echo(f"set_up.py: {error}", err=True)
        return error.exit_code
    for line in done:
        click.echo(line)
    if command:
        os.execvp(command[0], command)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
