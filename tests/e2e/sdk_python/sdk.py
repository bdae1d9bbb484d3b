"""Drives the gateway with OpenAI's own Python client, unmodified. Arguments: base URL, then keys by name (name=key)."""

import sys
import time

import openai
import pydantic
from openai import OpenAI

import checks
from checks import check

base_url = sys.argv[1]
keys = dict(argument.split("=", 1) for argument in sys.argv[2:])


def client(name="member", **options):
    return OpenAI(base_url=base_url, api_key=keys.get(name, name), **options)


def ask(name="member", prompt="hello there", model="scripted", retries=0, **fields):
    messages = [{"role": "user", "content": prompt}]
    return client(name, max_retries=retries).chat.completions.create(model=model, messages=messages, **fields)


def refused(kind, status, code, name="member", should_retry="false", **fields):
    """The class, the status, the fields and the header that the client's programs look at."""
    try:
        answer = ask(name, **fields)
    except openai.APIStatusError as error:
        check(type(error) is kind, f"{type(error).__name__} for {code}, expected {kind.__name__}: {error}")
        check(error.status_code == status, f"{error.status_code} for {code}")
        check(error.code == code, f"code {error.code!r}, expected {code!r}")
        check(error.message and error.type, f"message and type of {code}")
        check(error.request_id, f"request id of {code}")
        check(error.response.headers["x-should-retry"] == should_retry, f"x-should-retry of {code}")
        return error
    check(False, f"{code} was not refused: {answer}")


def plain():
    raw = client().chat.completions.with_raw_response.create(
        model="scripted", messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello there"}],
        temperature=0.5, top_p=0.9, seed=7, max_completion_tokens=50, stop=["never"], user="u1", metadata={"a": "b"})
    check(raw.headers["x-tollgate-record"].count("/") == 1, "record header")
    reply = raw.parse()
    check(reply.choices[0].message.content == "hello there", f"content {reply.choices[0].message.content!r}")
    check(reply.choices[0].message.role == "assistant", "role")
    check(reply.choices[0].finish_reason == "stop", "finish reason")
    check(reply.object == "chat.completion" and reply.id.startswith("chatcmpl-"), "head")
    check(reply.usage.completion_tokens == 2, f"usage {reply.usage}")
    check(reply.usage.total_tokens == reply.usage.prompt_tokens + 2, "total tokens")
    check(abs(reply.created - time.time()) < 600, "created")
    check(ask(max_tokens=1).choices[0].finish_reason == "length", "length")


def streamed():
    text, role, finish, usage, ids = "", None, None, None, set()
    for chunk in ask(prompt="!pace_ms 10\n!say one two three four", stream=True, stream_options={"include_usage": True}):
        ids.add(chunk.id)
        usage = chunk.usage or usage
        if chunk.choices:
            delta = chunk.choices[0].delta
            role = delta.role or role
            text += delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
    check(text == "one two three four", f"streamed text {text!r}")
    check(role == "assistant" and finish == "stop" and len(ids) == 1, "role, end and one id")
    check(usage and usage.completion_tokens == 4, f"usage {usage}")
    with client().chat.completions.stream(model="scripted", messages=[{"role": "user", "content": "a b c"}]) as stream:
        for _ in stream:
            pass
        check(stream.get_final_completion().choices[0].message.content == "a b c", "the stream helper")
    # A stream that is closed early.
    early = ask(prompt="!pace_ms 5\n!tokens 100000", stream=True)
    for _, _chunk in zip(range(3), early):
        pass
    early.close()
    # What breaks after the first byte is raised.
    try:
        for _ in ask(prompt="!pace_ms 30\n!say one \n!say two \n!fail", stream=True):
            pass
        check(False, "a broken stream ended well")
    except openai.APIError as error:
        check(error.message, "message of a broken stream")


def output():
    """Bias, log-probabilities, and what this model cannot be held to."""
    choice = ask(prompt="!alt maybe.\n!say so it is.", logprobs=True, top_logprobs=2).choices[0]
    content = choice.logprobs.content
    check([t.token for t in content] == ["so ", "it ", "is."], f"tokens {content}")
    check(bytes(content[0].bytes) == b"so " and content[0].logprob == -0.25, "bytes and log-probability")
    check([t.token for t in content[0].top_logprobs] == ["so ", "maybe."], f"alternatives {content[0].top_logprobs}")
    check(ask(logprobs=False).choices[0].logprobs is None, "no log-probabilities unasked")
    tokens = []
    for chunk in ask(prompt="!pace_ms 5\n!say one two three", stream=True, logprobs=True):
        if chunk.choices and chunk.choices[0].logprobs:
            tokens += [t.token for t in chunk.choices[0].logprobs.content]
    check(tokens == ["one ", "two ", "three"], f"streamed tokens {tokens}")
    # Neither a blocked word nor what comes after it, nor the word beside others.
    choice = ask(prompt="!alt sword\\|fish\n!say tell. sword\\|fish now", logprobs=True, top_logprobs=5).choices[0]
    check([t.token for t in choice.logprobs.content] == ["tell. "], f"tokens before a block {choice.logprobs}")
    check([t.token for t in choice.logprobs.content[0].top_logprobs] == ["tell. "], "alternatives before a block")
    check(ask(logit_bias={"5": -100, "6": 1.5}).choices[0].message.content == "hello there", "a bias")
    for fields, param in [({"top_logprobs": 2}, "top_logprobs"), ({"logit_bias": {"2000000000": 1}}, "logit_bias"),
                          ({"logit_bias": {"5": 101}}, "logit_bias"), ({"response_format": {"type": "json_object"}}, "response_format")]:
        error = refused(openai.BadRequestError, 400, "invalid_request", **fields)
        check(error.param == param, f"param {error.param}")


TOOLS = [{"type": "function", "function": {"name": "find", "description": "Finds it.",
                                           "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}}}]


class Find(pydantic.BaseModel):
    q: str


def results(message):
    return [{"role": "tool", "tool_call_id": call.id, "content": "A"} for call in message.tool_calls]


def goes_on(history):
    """The conversation goes on with what the SDK's helpers handed out, as OpenAI's own examples do."""
    reply = client().chat.completions.create(model="scripted", messages=history, tools=TOOLS)
    check(reply.choices[0].message.content == "done", f"the next turn {reply}")


def tools():
    """Calls, whole and streamed, and the conversation that goes on with their results."""
    prompt = "!say I look.\\n\n!call find {\"q\": \"a\"}\n!call find {\"q\": \"b\"}"
    choice = ask(prompt=prompt, tools=TOOLS).choices[0]
    check(choice.finish_reason == "tool_calls" and choice.message.content == "I look.", f"a reply that calls {choice}")
    calls = choice.message.tool_calls
    check([c.function.arguments for c in calls] == ['{"q": "a"}', '{"q": "b"}'], f"calls {calls}")
    check(all(c.type == "function" and c.function.name == "find" for c in calls), "names of calls")
    history = [{"role": "user", "content": prompt}, choice.message,
               {"role": "tool", "tool_call_id": calls[0].id, "content": "A"}, {"role": "tool", "tool_call_id": calls[1].id, "content": "B"},
               {"role": "user", "content": "!say done"}]
    reply = client().chat.completions.create(model="scripted", messages=history, tools=TOOLS)
    check(reply.choices[0].message.content == "done" and reply.choices[0].finish_reason == "stop", "an answer after results")
    with client().chat.completions.stream(model="scripted", messages=[{"role": "user", "content": "!pace_ms 5\n" + prompt}], tools=TOOLS) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    check("tool_calls.function.arguments.done" in kinds, f"events {kinds}")
    check([c.function.arguments for c in final.message.tool_calls] == ['{"q": "a"}', '{"q": "b"}'], f"streamed calls {final}")
    check(final.finish_reason == "tool_calls", "the end of a stream that calls")
    goes_on([{"role": "user", "content": prompt}, final.message, *results(final.message), {"role": "user", "content": "!say done"}])
    prompt_one = [{"role": "user", "content": "!call find {\"q\": \"a\"}"}]
    parsed = client().chat.completions.parse(model="scripted", messages=prompt_one, tools=[openai.pydantic_function_tool(Find, name="find")])
    message = parsed.choices[0].message
    check(message.tool_calls[0].function.parsed_arguments == Find(q="a"), f"parsed arguments {message}")
    goes_on([*prompt_one, message, *results(message), {"role": "user", "content": "!say done"}])
    check(ask(prompt=prompt, tools=TOOLS, tool_choice="none").choices[0].message.tool_calls is None, "no calls where none are wanted")
    check(len(ask(prompt=prompt, tools=TOOLS, parallel_tool_calls=False).choices[0].message.tool_calls) == 1, "one call")
    choice = ask(prompt="!call find {\"q\": \"sword\\\\u0066i\\|sh\"}", tools=TOOLS).choices[0]
    check(choice.finish_reason == "content_filter" and not choice.message.tool_calls, f"a blocked call {choice}")
    error = refused(openai.BadRequestError, 400, "invalid_request", tools=TOOLS, tool_choice="required")
    check(error.param == "tool_choice", f"param {error.param}")
    refused(openai.PermissionDeniedError, 403, "content_filter", tools=[{"type": "function", "function": {"name": "f", "description": "swordfish"}}])


def thoughts():
    reply = ask(prompt="!think a b c\n!say four")
    check(reply.choices[0].message.content == "four" and reply.choices[0].message.reasoning_content == "a b c", f"a thought {reply}")
    check(reply.usage.completion_tokens_details.reasoning_tokens == 3 and reply.usage.completion_tokens == 4, f"usage {reply.usage}")
    short = ask(prompt="!think a b c\n!say four", extra_body={"max_reasoning_tokens": 2})
    check(short.choices[0].message.reasoning_content == "a b" and short.choices[0].message.content == "four", f"a short thought {short}")
    thought = ""
    for chunk in ask(prompt="!pace_ms 5\n!think a b c\n!say four", stream=True):
        if chunk.choices:
            thought += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
    check(thought == "a b c", f"a streamed thought {thought!r}")


def choices():
    reply = ask(prompt="!say one two", n=3)
    check([c.message.content for c in reply.choices] == ["one two"] * 3 and [c.index for c in reply.choices] == [0, 1, 2], f"choices {reply}")
    check(reply.usage.completion_tokens == 6, f"usage of three {reply.usage}")
    texts, ends = ["", ""], [None, None]
    for chunk in ask(prompt="!pace_ms 5\n!say one two three", n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    check(texts == ["one two three"] * 2 and ends == ["stop"] * 2, f"streamed choices {texts} {ends}")
    error = refused(openai.BadRequestError, 400, "invalid_request", n=9)
    check(error.param == "n", f"param {error.param}")


def models():
    listed = client().models.list()
    check([m.id for m in listed] == ["scripted"], f"models {listed}")
    check(client().models.retrieve("scripted").owned_by == "tollgate", "one model")
    try:
        client().models.retrieve("nope")
        check(False, "an unknown model was found")
    except openai.NotFoundError as error:
        check(error.code == "model_not_found", "code of an unknown model")


def errors():
    refused(openai.AuthenticationError, 401, "invalid_api_key", name="tg_live_wrong")
    refused(openai.NotFoundError, 404, "model_not_found", model="nope")
    refused(openai.PermissionDeniedError, 403, "content_filter", prompt="say swordfish")
    refused(openai.PermissionDeniedError, 403, "content_filter", prompt="say swordfish", stream=True)
    refused(openai.PermissionDeniedError, 403, "role_not_granted", name="auditor")
    error = refused(openai.BadRequestError, 400, "invalid_request", temperature=9)
    check(error.param == "temperature", f"param {error.param}")
    error = refused(openai.BadRequestError, 400, "unsupported_parameter", reasoning_effort="low")
    check(error.param == "reasoning_effort", f"param {error.param}")
    error = refused(openai.PermissionDeniedError, 403, "role_not_granted", extra_body={"grammar": 'root ::= "a"'})
    error = refused(openai.BadRequestError, 400, "unknown_parameter", extra_body={"colour": "blue"})
    check(error.param == "colour", f"param {error.param}")
    error = refused(openai.RateLimitError, 429, "insufficient_quota", name="spent")
    check("has used" in error.message or "more than" in error.message, error.message)
    started = time.time()
    try:
        ask("spent", retries=2)
        check(False, "a spent budget was served")
    except openai.RateLimitError as error:
        check(time.time() - started < 1, "the client tried a spent budget again")
    # A full minute is tried again, after the wait that it was told.
    for _ in range(3):
        try:
            ask("busy")
        except openai.RateLimitError as error:
            check(error.code == "rate_limit_exceeded", f"code {error.code}")
            check(1 <= int(error.response.headers["retry-after"]) <= 60, "retry-after")
            check(error.response.headers["x-should-retry"] == "true", "x-should-retry of a full minute")
            check(int(error.response.headers["x-ratelimit-remaining-requests"]) == 0, "remaining requests")
            break
    else:
        check(False, "two requests a minute were three")
    reply = ask(prompt="!say tell me sword\\|fish now")
    check(reply.choices[0].finish_reason == "content_filter", "an output that is blocked")
    check("swordfish" not in reply.choices[0].message.content, "the blocked word")
    told = {"output_policy": {"action": "block", "rules": [
        {"id": "no.fish", "action": "block", "because": "Your organisation's policy (rule no.fish) applies to this text."}]}}
    check(reply.choices[0].tollgate == told, f"why it was blocked: {reply.choices[0]}")
    ends = [chunk.choices[0] for chunk in ask(prompt="!say tell me sword\\|fish now", stream=True) if chunk.choices and chunk.choices[0].finish_reason]
    check([end.finish_reason for end in ends] == ["content_filter"] and ends[0].tollgate == told, f"why a stream was blocked: {ends}")
    check(not hasattr(ask(prompt="!say fine").choices[0], "tollgate"), "nothing is told where nothing acted")


plain()
streamed()
output()
tools()
thoughts()
choices()
models()
errors()
print(f"{checks.count} checks with openai {openai.__version__}")
