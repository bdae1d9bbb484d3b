"""Output control on a real model, with OpenAI's own Python client. Arguments: base URL, key, model."""

import json
import math
import sys
from typing import Literal, Optional

import openai
from openai import OpenAI
from pydantic import BaseModel

import checks
from checks import check

client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
model = sys.argv[3]


def ask(prompt, **fields):
    fields = {"temperature": 0, "max_tokens": 48} | fields
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], **fields)


def logprobs():
    choice = ask("Name three colours.", logprobs=True, top_logprobs=5).choices[0]
    content = choice.logprobs.content
    check("".join(t.token for t in content) == choice.message.content, "the tokens are the text")
    check(b"".join(bytes(t.bytes) for t in content).decode() == choice.message.content, "the bytes are the text")
    for token in content:
        # The end of the turn has no bytes, and half of a code point cannot be judged: neither is listed.
        check(token.logprob <= 0 and 1 <= len(token.top_logprobs) <= 5, f"alternatives: {token}")
        check(token.top_logprobs[0].token == token.token, "greedy takes the likeliest")
        check(sum(math.exp(t.logprob) for t in token.top_logprobs) < 1.0001, "they are probabilities")
    streamed = []
    for chunk in ask("Name three colours.", logprobs=True, stream=True):
        if chunk.choices and chunk.choices[0].logprobs:
            streamed += [t.token for t in chunk.choices[0].logprobs.content]
    check("".join(streamed) == choice.message.content, f"streamed tokens are the text: {streamed}")


def json_mode():
    for stream in (False, True):
        answer = ask("Describe a cat as a JSON object with the keys name and age.", response_format={"type": "json_object"},
                     max_tokens=200, stream=stream)
        if stream:
            text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
        else:
            text = answer.choices[0].message.content
        check(text.lstrip().startswith("{"), f"an object: {text!r}")
        try:
            check(isinstance(json.loads(text), dict), "a whole object")
        except json.JSONDecodeError:
            check(stream or answer.choices[0].finish_reason == "length", f"cut off by a limit only: {text!r}")


class Cat(BaseModel):
    name: str
    mood: Literal["happy", "hungry"]
    lives: int
    friend: Optional[str]


def schema():
    completion = client.chat.completions.parse(
        model=model, messages=[{"role": "user", "content": "Describe a cat: its name, mood, lives and friend, as JSON."}],
        response_format=Cat, temperature=0, max_tokens=300, seed=1)
    choice = completion.choices[0]
    check(choice.finish_reason != "stop" or isinstance(choice.message.parsed, Cat), f"a cat: {choice.message.content!r}")
    forced = ask("Go on.", response_format={"type": "json_schema", "json_schema": {"name": "f", "strict": True, "schema": {
        "type": "object", "properties": {"b": {"const": 2}, "a": {"enum": ["x"]}}, "required": ["b", "a"]}}})
    check(json.loads(forced.choices[0].message.content) == {"b": 2, "a": "x"}, f"as forced: {forced.choices[0].message.content!r}")
    try:
        ask("Go on.", response_format={"type": "json_schema", "json_schema": {
            "name": "f", "strict": True, "schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}}})
        check(False, "a pattern was accepted though all was to be enforced")
    except openai.BadRequestError as error:
        check(error.param == "response_format" and "pattern" in error.message, f"{error}")


class FindFriend(BaseModel):
    """Finds a cat's friend."""
    name: str
    kind: Literal["cat", "dog"]


# What agents send: tools, and the form of the last answer. The model decides which it gives, and either is held to its schema.
def tools_and_schema():
    given = {"calls": 0, "cats": 0}
    for seed in range(8):
        try:
            completion = client.chat.completions.parse(
                model=model, messages=[{"role": "user", "content": "Describe a cat as JSON, or find its friend."}],
                tools=[openai.pydantic_function_tool(FindFriend)], response_format=Cat, temperature=1, max_tokens=300, seed=seed)
        except openai.LengthFinishReasonError:  # How the SDK says it; what the model draws depends on what it is batched with.
            continue
        choice = completion.choices[0]
        if choice.finish_reason == "tool_calls":
            given["calls"] += 1
            check(not choice.message.content, f"no text beside the calls: {choice.message.content!r}")
            for call in choice.message.tool_calls:
                check(isinstance(call.function.parsed_arguments, FindFriend), f"a friend: {call.function.arguments!r}")
        else:
            given["cats"] += 1
            check(isinstance(choice.message.parsed, Cat), f"a cat: {choice.message.content!r}")
    check(given["calls"] + given["cats"] > 0, "something ended by itself")


logprobs()
json_mode()
schema()
tools_and_schema()
print(f"{checks.count} checks")
