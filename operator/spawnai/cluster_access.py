"""How the API server is reached: as kubectl would, or by the pod's account."""

import os
from collections.abc import Mapping

from kubernetes.aio import client, config
from yaml import YAMLError


class NoClusterAccess(Exception):
    """It cannot be told how; the sentence says what to set."""


async def cluster_access(environment: Mapping[str, str] = os.environ) -> client.Configuration:
    """The pod's account in a pod, else `$KUBECONFIG`, else the default kubeconfig.

    Not through a proxy that only the environment names: kopf's watches do not look for one either,
    and to look costs each call two changes of thread.

    Raises:
        NoClusterAccess: there is none of these, or it cannot be used.
    """
    access = client.Configuration()
    access.client_session_kwargs = {"trust_env": False}
    # A cluster's own authority need not follow RFC 5280 to the letter: see `lenient` in watches.py.
    access.disable_strict_ssl_verification = True
    named = environment.get("KUBECONFIG")
    try:
        if not named and "KUBERNETES_SERVICE_HOST" in environment:
            config.load_incluster_config(client_configuration=access)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=named or None, client_configuration=access
            )
    except (
        config.ConfigException,
        OSError,
        YAMLError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        file = f"KUBECONFIG={named}" if named else "~/.kube/config"
        raise NoClusterAccess(
            f"How the API server is reached cannot be told: no pod's account, and {file} is "
            f"no usable kubeconfig ({' '.join(str(error).split()) or type(error).__name__}). Run "
            "in a pod with a service account, or set KUBECONFIG to a file that kubectl can use"
        ) from error
    return access
