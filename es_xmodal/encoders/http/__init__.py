"""`http:URL`: an embedding service does the work. `docs/encoders.md` describes the protocol."""

from __future__ import annotations

from es_xmodal.encoders.base import Encoder, EncoderOptions
from es_xmodal.errors import EncoderError


def load(argument: str, options: EncoderOptions) -> Encoder:
    """Ask a service what it is, and return an encoder that uses it.

    Args:
        argument: `URL` of a service that speaks our protocol, or `URL#model=NAME` of one that speaks
            OpenAI's, with texts and pictures.
        options: key, seconds to wait, batch size.

    Raises:
        EncoderSpecError: the address cannot be used.
        EncoderError: what the service says of itself makes no sense, or the options ask for a device.
        EncoderServiceError: the service cannot be reached, or refuses.
    """
    from es_xmodal.encoders.http.address import parse_address

    address = parse_address(argument)
    if (options.device, options.precision, options.threads) != ("auto", "auto", None):
        raise EncoderError(
            f"encoder {address.spec}: device, precision and threads are the service's own",
            hint="leave them at auto",
        )
    from es_xmodal.encoders.http.client import Client

    client = Client(address, api_key=options.api_key, timeout_s=options.timeout_s)
    try:
        encoder: Encoder
        if address.model:
            from es_xmodal.encoders.http.openai import OpenAiEncoder

            encoder = OpenAiEncoder(client)
        else:
            from es_xmodal.encoders.http.own import ServiceEncoder

            encoder = ServiceEncoder(client)
    except BaseException:  # also Ctrl-C: leave no connection open
        client.close()
        raise
    encoder.batch_size = options.batch_size or encoder.batch_size
    return encoder
