"""Settings: where they come from, what they may be, and how secrets stay hidden.

Order, the first that speaks wins: arguments, environment (`ES_XMODAL_URL` and so on; an empty variable is as
good as none), the file named by `ES_XMODAL_CONFIG` or `es_xmodal.toml` in the working directory, defaults.
A secret may also stand in a file of its own, as containers get theirs: `ES_XMODAL_PASSWORD_FILE` names it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from es_xmodal.errors import SettingsError

CONFIG_VARIABLE = "ES_XMODAL_CONFIG"
CONFIG_FILE = "es_xmodal.toml"
PREFIX = "ES_XMODAL_"

VectorIndex = Literal[
    "auto",
    "hnsw",
    "flat",
    "int8_hnsw",
    "int8_flat",
    "int4_hnsw",
    "int4_flat",
    "bbq_hnsw",
    "bbq_flat",
    "bbq_disk",
]


class Settings(BaseSettings):
    """Everything that can be set from outside.

    `repr` and every dump show secrets as asterisks.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    url: str | None = Field(
        default=None, description="Elasticsearch, several nodes with commas; none: the running local node"
    )
    api_key: SecretStr | None = Field(default=None, description="base64 API key, as Kibana shows it")
    username: str | None = Field(default=None, description="user for basic authentication")
    password: SecretStr | None = Field(default=None, description="its password")
    ca_certs: Path | None = Field(default=None, description="file of certificate authorities to trust")
    verify_certs: bool = Field(default=True, description="check the server's certificate")
    timeout_s: float = Field(default=30.0, gt=0, le=3600, description="seconds to wait for one answer")
    patience_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="seconds in which an ingest waits for a cluster in trouble",
    )
    encoder: str = Field(default="mini", description="encoder SPEC used by ingest")
    device: str = Field(default="auto", description="of the encoder: auto, cpu, cuda, cuda:N, mps")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(default="auto", description="of the encoder")
    encoder_batch: int | None = Field(default=None, ge=1, le=4096, description="items a call of the encoder")
    encoder_threads: int | None = Field(default=None, ge=1, le=1024, description="cores for the encoder")
    encoder_api_key: SecretStr | None = Field(default=None, description="key of an embedding service")
    encoder_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="seconds to wait for one answer of an embedding service"
    )
    ocr: bool = Field(default=False, description="read the words on pictures at ingest; extra `ocr`")
    picture_hosts: str = Field(
        default="", description="hosts, with commas, whose pictures may lie on addresses that are not public"
    )
    picture_connections: int = Field(default=32, ge=1, le=512, description="pictures fetched at once")
    picture_connections_per_host: int = Field(default=8, ge=1, le=512, description="of them from one host")
    picture_timeout_s: float = Field(default=60.0, gt=0, le=3600, description="for one picture of the web")
    picture_fresh_s: float = Field(
        default=0.0, ge=0, description="seconds in which a host is not asked again whether a picture changed"
    )
    video_frames: int = Field(default=8, ge=1, le=64, description="frames of a video, as pictures, at most")
    video_max_bytes: int = Field(
        default=200 * 1024 * 1024, ge=1, le=4 * 1024**3, description="a larger video is not read"
    )
    audit: bool = Field(default=True, description="record ingests in an index, for Kibana")
    audit_index: str = Field(default="es-xmodal-ingests", description="that index, alias or data stream")
    kibana_url: str | None = Field(default=None, description="Kibana, for `es-xmodal kibana import`")
    kibana_api_key: SecretStr | None = Field(
        default=None, description="base64 API key for it; none of these: as for Elasticsearch"
    )
    kibana_username: str | None = Field(default=None, description="user of Kibana")
    kibana_password: SecretStr | None = Field(default=None, description="that user's password")
    window: int = Field(default=100, ge=10, le=1000, description="candidates a leg")
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("es_xmodal", appauthor=False)),
        description="folder of the vector store",
    )
    user_dictionary: Path | None = Field(default=None, description="the shop's own words, in jieba's format")
    profile: Path | None = Field(default=None, description="file of boosts and weights of the ranking, TOML")
    pictures: Literal["best", "mean"] | None = Field(
        default=None, description="several pictures of a product; none: as the index has it, else best"
    )
    fuse: Literal["none", "add", "concat"] | None = Field(
        default=None, description="one vector for text and pictures; none: as the index has it"
    )
    text_share: float | None = Field(default=None, gt=0, lt=1, description="the text's part in it")
    similarity: Literal["cosine", "dot_product", "l2_norm"] | None = Field(
        default=None, description="of the vector fields; none: as the index has it, else the encoder's"
    )
    role_weights: dict[str, float] | None = Field(default=None, description="role of a picture to its weight")
    vector_index: VectorIndex = Field(
        default="auto", description="`index_options.type` of new indices; auto: by size, server and licence"
    )

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, url: str | None) -> str | None:
        if not url:  # an empty variable is as good as none
            return None
        nodes = [one.strip() for one in url.split(",") if one.strip()]
        for one in nodes:
            if not one.startswith(("http://", "https://")):
                # What stands before an @ may be a password.
                shown = one.rpartition("@")[2]
                raise ValueError(
                    f"{shown!r} is not an address; write it as http://HOST:PORT or https://HOST:PORT"
                )
        return ",".join(one.rstrip("/") for one in nodes) or None

    @model_validator(mode="after")
    def _whole_credentials(self) -> Settings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together; set both or neither")
        if self.api_key is not None and self.username is not None:
            raise ValueError("api_key and username exclude each other; set one of them")
        if (self.kibana_username is None) != (self.kibana_password is None):
            raise ValueError("kibana_username and kibana_password belong together; set both or neither")
        if self.kibana_api_key is not None and self.kibana_username is not None:
            raise ValueError("kibana_api_key and kibana_username exclude each other; set one of them")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        named = os.environ.get(CONFIG_VARIABLE)
        file = TomlConfigSettingsSource(settings_cls, toml_file=named or CONFIG_FILE)
        return init_settings, env_settings, _SecretFiles(settings_cls), file


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets from the files that `ES_XMODAL_..._FILE` name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret of one field; None where no file is named, or where the field is no secret."""
        is_secret = SecretStr in get_args(field.annotation)
        name = f"{PREFIX}{field_name.upper()}"
        return (secret_file(name, os.environ) if is_secret else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All secrets that stand in files."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


def secret_file(variable: str, environment: Mapping[str, str]) -> str | None:
    """Read a secret from the file that `VARIABLE_FILE` names.

    Args:
        variable: that would hold the secret itself.
        environment: of the process.

    Returns:
        What the file holds, without white space around it; None where no file is named.

    Raises:
        SettingsError: both variables are set, or the file is empty or cannot be read.
    """
    named = environment.get(f"{variable}_FILE")
    if not named:
        return None
    if environment.get(variable):
        raise SettingsError(f"{variable} and {variable}_FILE exclude each other", hint="set one of them")
    try:
        secret = Path(named).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise SettingsError(f"{variable}_FILE: {named} cannot be read: {reason}") from None
    if not secret:
        raise SettingsError(f"{variable}_FILE: {named} is empty", hint="write the secret into it")
    return secret


def load_settings(**given: Any) -> Settings:
    """Read the settings.

    Args:
        given: values that win over environment and file; None means not given.

    Returns:
        The settings, checked.

    Raises:
        SettingsError: a value cannot be used; the message names it and never shows a secret.
    """
    build = partial(Settings, **{name: value for name, value in given.items() if value is not None})
    named = os.environ.get(CONFIG_VARIABLE)
    if named and not Path(named).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {named}, which is not a file")
    try:
        return build()
    except ValidationError as error:
        raise _one_line(error) from None
    except ValueError as error:  # tomllib: the file itself is broken
        raise SettingsError(f"{named or CONFIG_FILE} is not valid TOML: {error}") from None


def _one_line(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    reason = first["msg"].removeprefix("Value error, ")
    hint = f"set it in {CONFIG_FILE}, as ES_XMODAL_{name.upper()}, or as an option" if first["loc"] else ""
    return SettingsError(f"{name}: {reason}", hint=hint)
