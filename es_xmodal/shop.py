"""A shop's index as one object: what a Python program, the command line and the service search with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from es_xmodal.app import (
    encoder_of_index,
    fetched,
    load_profile,
    make_analyzer,
    make_encoder,
    make_reader,
    with_dictionary_of,
)
from es_xmodal.cluster.client import connect
from es_xmodal.encoders.base import Encoder
from es_xmodal.query.facets import Facet, parse_facet
from es_xmodal.query.filters import Filter, parse_filter
from es_xmodal.query.model import Composing, Fusion, Query
from es_xmodal.query.order import Sort, parse_sort
from es_xmodal.query.profile import DEFAULT_PROFILE, Profile
from es_xmodal.query.terms import Term, parse_minus
from es_xmodal.search.engine import PlannedSearch, Searcher
from es_xmodal.settings import Settings, load_settings

if TYPE_CHECKING:
    from es_xmodal.index.target import Target
    from es_xmodal.search.result import SearchResult

DEFAULT_INDEX = "products"


class Shop:
    """One index of products: search it by words, by picture, or by both.

    Use it as a context manager, or call `close`. Safe to use from several threads; parts that cost time or
    memory (tokeniser, encoder) are loaded when they are first needed.

    Args:
        url: address of Elasticsearch; None: `ES_XMODAL_URL` or the settings file.
        index: alias of an index made by ingest.
        settings: everything else; None: read from environment and file.
        profile: weights and boosts, or a file of them; None: as the settings say, or the defaults.
        encoder: SPEC of the encoder, where it differs from the one that the index names, such as a folder
            that lies elsewhere on this machine; its fingerprint must be the index's. The setting `encoder`
            is that of ingest, and has no effect here.
        encoder_for: gives the encoder for the SPEC that the index names, in place of loading it here.
        around_encoder: puts another encoder around the one that was loaded, such as one that gathers the
            calls of many threads.

    Raises:
        SettingsError: a setting cannot be used, or no address is known.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        index: str = DEFAULT_INDEX,
        settings: Settings | None = None,
        profile: Profile | str | Path | None = None,
        encoder: str | None = None,
        encoder_for: Callable[[str], Encoder] | None = None,
        around_encoder: Callable[[Encoder], Encoder] = lambda encoder: encoder,
    ) -> None:
        settings = settings or load_settings(url=url)
        self.profile = _profile(settings.profile if profile is None else profile)
        self.settings = settings
        self.index = index
        self._client = connect(settings)

        def load(spec: str) -> Encoder:
            if encoder_for is not None:
                return encoder_for(spec)
            return encoder_of_index(settings, spec) if encoder is None else make_encoder(settings, encoder)

        self._searcher = Searcher(
            self._client,
            index,
            encoder_for=lambda spec: around_encoder(load(spec)),
            analyzer_for=lambda: make_analyzer(settings),
            reader_for=lambda: make_reader(settings),
            timeout_s=settings.timeout_s,
            profile=self.profile,
        )

    def __enter__(self) -> Shop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and the encoder's."""
        self._searcher.close()
        self._client.close()

    def check(self) -> str:
        """Ask Elasticsearch for the index.

        Returns:
            Its physical name.

        Raises:
            IndexStateError: there is none, or it is not complete.
            ClusterError: Elasticsearch could not be reached or refuses.
        """
        return self._searcher.check()

    def product(self, id_: str) -> Mapping[str, Any] | None:
        """Return one product as a catalogue row; None where there is none of that id.

        Raises:
            ClusterError: Elasticsearch could not be reached, refused, or answered in part only.
        """
        return self._searcher.product(id_)

    def encoder(self) -> Encoder:
        """Return the encoder of the index; it is loaded when that has not happened yet.

        Raises:
            EncoderError: it cannot be loaded.
            IndexStateError: no such index, or built with another encoder.
            ClusterError: Elasticsearch could not be reached or refuses.
        """
        return self._searcher.encoder()

    def query(
        self,
        text: str = "",
        *,
        images: str | bytes | Iterable[str | bytes | Term] = (),
        like: str | Iterable[str | Term] = (),
        minus: str | Iterable[str | Term] = (),
        composition: Composing = "auto",
        keep_like: bool = False,
        filters: str | Iterable[str | Filter] = (),
        facets: str | Iterable[str | Facet] = (),
        sort: str | Iterable[str | Sort] = (),
        collapse: bool = False,
        size: int = 10,
        fusion: Fusion = "convex",
        weights: Mapping[str, float] | None = None,
        lexical_query: Mapping[str, Any] | None = None,
        cutoff: float | None = None,
        window: int | None = None,
        hold: bool = False,
    ) -> Query:
        """Put a query together.

        Args:
            text: words in any language.
            images: paths, addresses, `data:` URIs or bytes of pictures.
            like: ids of products of the index, "like these"; they are left out of the hits.
            minus: words, `image:PATH`, `id:ID`, or terms: what to move away from.
            composition: `early`, `late`, or `auto`; see `Query`.
            keep_like: the products of `like` may be hits.
            filters: as on the command line (`brand=Apple`, `price=10..20`) or as objects.
            facets: as on the command line (`brand`, `price:0,50`, `attributes.colour@filter`) or as objects.
            sort: `price`, `-price`, several, or objects: over the candidates, with the score still reported.
            collapse: all variants of a product (`group_id`) are one hit.
            size: hits on one page.
            fusion: `convex`, `rrf`, `boost`, `server-linear` or `server-rrf`; see `Query`.
            weights: leg name to weight, over the defaults.
            lexical_query: the shop's own Query DSL as the lexical leg; `{{query}}` in it is the text.
            cutoff: spreads above unrelated pairs that a hit must reach in one leg; None: no cut-off.
            window: candidates a leg; None: from the settings.
            hold: all pages show the index as it was on the first page; see `Query`.

        Returns:
            The query.

        Raises:
            QueryError: it makes no sense; the error names the field.
        """
        return Query(
            text=text,
            pictures=_many(images),
            like=_many(like),
            minus=tuple(parse_minus(one) if isinstance(one, str) else one for one in _many(minus)),
            composition=composition,
            keep_like=keep_like,
            filters=tuple(parse_filter(one) if isinstance(one, str) else one for one in _many(filters)),
            facets=tuple(parse_facet(one) if isinstance(one, str) else one for one in _many(facets)),
            sort=tuple(parse_sort(one) if isinstance(one, str) else one for one in _many(sort)),
            collapse=collapse,
            size=size,
            fusion=fusion,
            weights=dict(weights or {}),
            lexical_query=lexical_query,
            cutoff=cutoff,
            window=self.settings.window if window is None else window,
            hold=hold,
        )

    def search(
        self,
        text: str | Query = "",
        *,
        cursor: str | None = None,
        profile: Profile | None = None,
        **options: Any,
    ) -> SearchResult:
        """Search.

        Args:
            text: words, or a whole query.
            cursor: of the page before, for the next page.
            profile: for this search; None: the shop's.
            options: see `query`.

        Returns:
            One page of hits.

        Raises:
            XModalError: see `es_xmodal.search.engine.Searcher.search`.
        """
        return self._searcher.search(self._as_query(text, options), cursor=cursor, profile=profile)

    def plan(
        self,
        text: str | Query = "",
        *,
        cursor: str | None = None,
        profile: Profile | None = None,
        **options: Any,
    ) -> PlannedSearch:
        """Return the requests that a search would send; the arguments are those of `search`."""
        return self._searcher.plan(self._as_query(text, options), cursor=cursor, profile=profile)

    def _as_query(self, text: str | Query, options: Mapping[str, Any]) -> Query:
        query = text if isinstance(text, Query) else self.query(text, **options)
        if not any(map(_on_the_web, (*query.pictures, *query.minus))):
            return query
        return replace(
            query,
            pictures=tuple(self._fetched(one) for one in query.pictures),
            minus=tuple(self._fetched(one) for one in query.minus),
        )

    def _fetched(self, term: Any) -> Any:
        return replace(term, value=fetched(self.settings, term.value)) if _on_the_web(term) else term


def _on_the_web(term: Any) -> bool:
    value = getattr(term, "value", None)
    return term.kind == "image" and isinstance(value, str) and value.startswith(("http://", "https://"))


def _profile(given: Profile | str | Path | None) -> Profile:
    if given is None:
        return DEFAULT_PROFILE
    return given if isinstance(given, Profile) else load_profile(Path(given))


def _many(given: Any) -> tuple[Any, ...]:
    """One thing, or several."""
    return (given,) if isinstance(given, (str, bytes, Term, Filter, Facet, Sort)) else tuple(given)


@contextmanager
def shops_of_versions(
    settings: Settings,
    targets: Iterable[Target],
    *,
    encoders: Sequence[str] = (),
    dictionaries: Sequence[Path] = (),
) -> Iterator[list[Shop]]:
    """Open several versions of an index, each with the encoder and the dictionary that it was built with.

    Args:
        settings: everything else.
        targets: the versions; those of one encoder share it.
        encoders: SPECs to look among where a version's encoder has another SPEC on this machine.
        dictionaries: files to look among for the versions' dictionaries, beside that of the settings.

    Yields:
        A shop for each.

    Raises:
        SettingsError: a setting cannot be used, or no address is known.
        EncoderError: an encoder of `encoders` cannot be loaded.
    """
    others = [make_encoder(settings, spec) for spec in encoders]
    loaded = {one.info.fingerprint: one for one in others}
    with ExitStack() as stack:
        for one in others:
            stack.callback(one.close)

        def encoder_for(target: Target, spec: str) -> Encoder:
            if target.meta.encoder.fingerprint not in loaded:
                loaded[target.meta.encoder.fingerprint] = encoder_of_index(settings, spec)
            return loaded[target.meta.encoder.fingerprint]

        yield [
            stack.enter_context(
                Shop(
                    index=target.index,
                    settings=with_dictionary_of(settings, target.meta.text_fingerprint, dictionaries),
                    encoder_for=partial(encoder_for, target),
                )
            )
            for target in targets
        ]
