"""Every error that es_xmodal raises on purpose.

Each error is one line for a person: what happened, where, and what to do about it (`hint`).
The command line prints that line and leaves with `exit_code`; nobody sees a traceback.

    XModalError
      UsageError                  2  the call, the input or the configuration is wrong
        SettingsError                a setting has no such value
        QueryError                   a query that makes no sense; names the field
        CatalogError                 the catalogue as a whole cannot be read
        PictureError                 one picture cannot be used; carries a `code`
        EncoderError                 an encoder cannot be loaded or cannot encode this
          EncoderSpecError           no encoder is called that
        MissingExtraError            an optional part is not installed
        IndexStateError              an index is not in a state that allows this
          IndexMissingError          there is no such index
          ForeignIndexError          the index was not made by this project
          IndexBusyError             another ingest is building it
          FingerprintMismatchError   the index was built with another encoder or tokeniser
      StoreError                  3  the vector store cannot be used
      KibanaError                 3  Kibana cannot be reached or refuses
      EncoderServiceError         3  an embedding service cannot be reached, or is not what it was
      WorkersError                3  the machines that embed for an ingest cannot be reached, or fail
      LocalNodeError              3  the local Elasticsearch cannot be started or stopped
      ClusterError                3  Elasticsearch could not be reached or refused
        ClusterUnreachableError      no answer
        ClusterRefusedError          401 or 403
        ClusterAnswerError           an answer that says no, or that cannot be understood
          ClusterNotReadyError       429 or 503: not now
          PartialAnswerError         some shards failed or a search timed out
"""

from __future__ import annotations


class XModalError(Exception):
    """Base of all errors of this package.

    Args:
        message: what happened and where, in one line.
        hint: what the reader can do about it, in one line; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(XModalError):
    """The call, the input or the configuration is wrong."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is missing or has a value that cannot be used."""


class QueryError(UsageError):
    """A query that makes no sense.

    Args:
        message: what is wrong.
        field: the part of the query that is wrong, such as `filters.price`.
        hint: what to write instead.
    """

    def __init__(self, message: str, *, field: str, hint: str = "") -> None:
        super().__init__(f"{field}: {message}", hint=hint)
        self.field = field


class CatalogError(UsageError):
    """The catalogue as a whole cannot be read; a bad row is a reject, not an error."""


class PictureError(UsageError):
    """One picture cannot be used.

    Args:
        message: what is wrong with it.
        code: a short stable word for reports, such as `missing`, `truncated`, `too_many_pixels`.
        hint: what to do about it.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class EncoderError(UsageError):
    """An encoder cannot be loaded, or cannot encode what it was given."""


class EncoderSpecError(EncoderError):
    """No encoder is called that."""


class MissingExtraError(UsageError):
    """An optional part of the package is not installed.

    Args:
        what: what was wanted, such as `Parquet catalogues`.
        extra: the name of the extra that brings it.
    """

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what}: not installed", hint=f"pip install 'es-xmodal[{extra}]'")
        self.extra = extra


class IndexStateError(UsageError):
    """An index is not in a state that allows what was asked."""


class IndexMissingError(IndexStateError):
    """There is no such index or alias."""


class ForeignIndexError(IndexStateError):
    """The index exists and was not made by this project."""


class IndexBusyError(IndexStateError):
    """Another ingest is building this index."""


class FingerprintMismatchError(IndexStateError):
    """The index was built with another encoder or tokeniser than the one in use.

    Args:
        index: name of the index.
        part: `encoder` or `tokeniser`.
        stored: the fingerprint that the index carries.
        current: the fingerprint of what is in use now.
    """

    def __init__(self, *, index: str, part: str, stored: str, current: str) -> None:
        super().__init__(
            f"index {index} was built with another {part}: it carries {stored}, in use is {current}",
            hint=f"use the {part} of the index, or run ingest with --rebuild to make a new index beside it",
        )
        self.part, self.stored, self.current = part, stored, current


class EncoderServiceError(XModalError):
    """An embedding service cannot be reached, refuses, or is not what it was.

    Not an `EncoderError`: that is about one text or picture, and an ingest goes on without it.
    """

    exit_code = 3


class WorkersError(XModalError):
    """The machines that embed for an ingest cannot be reached, or cannot go on."""

    exit_code = 3


class KibanaError(XModalError):
    """Kibana cannot be reached, refuses, or is not there."""

    exit_code = 3


class StoreError(XModalError):
    """The vector store cannot be opened, read or written."""

    exit_code = 3


class LocalNodeError(XModalError):
    """The local Elasticsearch cannot be started, found or stopped."""

    exit_code = 3


class ClusterError(XModalError):
    """Elasticsearch could not be reached, or refused."""

    exit_code = 3


class ClusterUnreachableError(ClusterError):
    """No answer from the cluster."""


class ClusterRefusedError(ClusterError):
    """The cluster answered 401 or 403."""


class ClusterAnswerError(ClusterError):
    """The cluster answered with an error, or with something that cannot be understood."""


class ClusterNotReadyError(ClusterAnswerError):
    """The cluster is overloaded, or not ready yet: the same request may be answered a moment later."""


class PartialAnswerError(ClusterAnswerError):
    """Some shards failed or the search timed out, so the answer would lack hits."""
