"""Recipe section for a language model behind OpenAI's chat completions. It never contains the key itself."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from imagemill.data.config.server_api import ServerApi, none_as_empty


class ChatApi(ServerApi):
    """Address and request settings of a chat API: OpenAI's chat completions, as vLLM, SGLang and others serve them."""

    path: ClassVar[str] = "/chat/completions"
    reserved: ClassVar = (
        *("model", "messages", "response_format", "temperature", "seed", "max_tokens", "n", "stream"),
        *("tools", "tool_choice", "functions", "function_call"),
    )

    base_url: Annotated[str, BeforeValidator(none_as_empty)] = Field(
        "",
        title="Base URL",
        description="The API's base URL, such as http://localhost:8000/v1; /chat/completions is appended.",
    )
    extra: dict[str, Any] = Field(
        {}, title="Extra fields", description="Added unchanged to every request, for instance {top_p: 0.9}."
    )
