"""The process of one node: starts a Java machine in itself and Elasticsearch in that.

`python -m es_xmodal.local.child SPEC`. It writes a report (`{"started": true, ...}` or
`{"failure": "..."}`) and stops on SIGTERM, or when its parent is gone if the spec says so. Everything
else that it says belongs in a log, where its output is sent by the parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from es_xmodal.local.layout import NodeSpec


def main(arguments: list[str]) -> int:
    """Run one node until it is told to stop."""
    spec = NodeSpec.read(Path(arguments[0]))
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    if spec.stop_with_parent:
        threading.Thread(target=_wait_for_parent, args=(stop,), daemon=True).start()
    runner = _Runner(spec, stop)
    runner.start()
    stop.wait()
    status = runner.finish()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the Java machine may still run; everything that matters is on disk.
    os._exit(status)


def _wait_for_parent(stop: threading.Event) -> None:
    """The parent holds the other end of standard input, and the system closes it when it dies."""
    while os.read(0, 1024):
        pass
    stop.set()


class _Runner:
    """Starts the node in a thread, so that a signal during the start is heard at once."""

    def __init__(self, spec: NodeSpec, stop: threading.Event) -> None:
        self._spec = spec
        self._stop = stop
        self._node: Any = None
        self._failed = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> int:
        """Close the node; a node that is not up yet has nothing to lose."""
        if self._failed:
            return 1
        if self._node is not None:
            self._node.close()
        return 0

    def _run(self) -> None:
        try:
            _start_machine(self._spec)
            self._node = _start_node(self._spec)
            self._report({"started": True, "vectors": _vector_support()})
        except Exception as error:  # whatever Java threw becomes one line in the report
            import traceback

            traceback.print_exc()
            self._failed = True
            self._report({"failure": _root_cause(error)})
            self._stop.set()

    def _report(self, content: dict[str, Any]) -> None:
        path = Path(self._spec.report)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(path)


def _start_machine(spec: NodeSpec) -> None:
    import jpype

    jpype.startJVM(*spec.jvm_options, jvmpath=spec.libjvm, classpath=list(spec.class_path))


def _start_node(spec: NodeSpec) -> Any:
    from jpype import JClass

    logs = JClass("org.elasticsearch.common.logging.LogConfigurator")
    logs.registerErrorListener()
    logs.configureESLogging()
    builder = JClass("org.elasticsearch.common.settings.Settings").builder()
    for name, value in spec.settings.items():
        builder.putList(name, value) if isinstance(value, list) else builder.put(name, value)
    config = JClass("java.nio.file.Paths").get(spec.config)
    environment = JClass("org.elasticsearch.env.Environment")(builder.build(), config)
    logs.configure(environment, True)
    loader = JClass("org.elasticsearch.plugins.PluginsLoader")
    # From 9 on the call also asks whether this is a stateless deployment.
    flag = () if spec.version.startswith("8.") else (False,)
    plugins = loader.createPluginsLoader(
        loader.loadModulesBundles(environment.modulesDir(), *flag),
        loader.loadPluginsBundles(environment.pluginsDir(), *flag),
        JClass("java.util.Map").of(),
        False,  # the server is on the class path here, it has no module whose packages could be exported
    )
    node = JClass("org.elasticsearch.node.Node")(environment, plugins)
    node.start()
    return node


def _vector_support() -> str:
    """Name of the class with which Lucene compares vectors: `Panama...` is the fast one."""
    from jpype import JClass, JException

    try:
        field = JClass("org.apache.lucene.util.VectorUtil").class_.getDeclaredField("IMPL")
        field.setAccessible(True)
        return str(field.get(None).getClass().getSimpleName())
    except JException:
        return ""  # it is only told, nothing depends on it


def _root_cause(error: BaseException) -> str:
    """The innermost message of a Java or Python exception, in one line."""
    text = str(error)
    get_cause = getattr(error, "getCause", None)
    cause = get_cause() if callable(get_cause) else error.__cause__
    seen = 0
    while cause is not None and seen < 20:
        text = str(cause) or text
        cause = cause.getCause() if hasattr(cause, "getCause") else None
        seen += 1
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
