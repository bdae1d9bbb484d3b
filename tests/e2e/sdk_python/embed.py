"""Vectors with OpenAI's own Python client, unmodified. Arguments: base URL, key, a model that embeds, its dimensions, a model that chats."""

import math
import sys

import openai
from openai import OpenAI

import checks
from checks import check

client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
model, dimensions, chats = sys.argv[3], int(sys.argv[4]), sys.argv[5]


def apart(a, b):
    check(len(a) == len(b), f"{len(a)} and {len(b)} numbers")
    return max(abs(x - y) for x, y in zip(a, b))


def length(vector):
    return math.sqrt(sum(x * x for x in vector))


def refused(status, code, **fields):
    try:
        answer = client.embeddings.create(**({"model": model, "input": "x"} | fields))
    except openai.APIStatusError as error:
        check(error.status_code == status and error.code == code, f"{error.status_code} {error.code}, expected {status} {code}: {error}")
        return error
    check(False, f"{code} was not refused: {answer}")


texts = ["The cat sat on the mat.", "A dog ran.", "Öl, naïve — 東京 🙂", "x"]
# The client asks for base64 where nothing is said, and decodes it.
reply = client.embeddings.create(model=model, input=texts)
check([d.index for d in reply.data] == [0, 1, 2, 3] and reply.model == model and reply.object == "list", f"head {reply.model}")
check(reply.usage.prompt_tokens == reply.usage.total_tokens > 4, f"usage {reply.usage}")
for item in reply.data:
    check(len(item.embedding) == dimensions and abs(length(item.embedding) - 1) < 1e-4, f"length {length(item.embedding)}")

as_floats = client.embeddings.create(model=model, input=texts, encoding_format="float")
for one, other in zip(reply.data, as_floats.data):
    check(apart(one.embedding, other.embedding) < 1e-3, "base64 and digits are the same")
for text, item in zip(texts, reply.data):
    alone = client.embeddings.create(model=model, input=text, user="u1")
    check(apart(alone.data[0].embedding, item.embedding) < 5e-3, "alone as beside others")

cut = client.embeddings.create(model=model, input=texts[0], dimensions=5).data[0].embedding
check(len(cut) == 5 and abs(length(cut) - 1) < 1e-4, f"cut {cut}")
check(apart(cut, [x / length(reply.data[0].embedding[:5]) for x in reply.data[0].embedding[:5]]) < 5e-3, "the first ones, brought to length 1")

raw = client.embeddings.with_raw_response.create(model=model, input="x")
check(raw.headers["x-tollgate-record"].count("/") == 1, "record header")

refused(400, "invalid_request", dimensions=dimensions + 1)
refused(400, "invalid_request", input=["a", ""])
refused(400, "missing_required_parameter", input=[])
refused(400, "model_does_not_embed", model=chats)
refused(404, "model_not_found", model="none")
refused(400, "context_length_exceeded", input="word " * 50_000)
try:
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    check(False, "a model that embeds chatted")
except openai.BadRequestError as error:
    check(error.code == "model_does_not_chat" and "/v1/embeddings" in error.message, f"{error}")
print(f"{checks.count} checks")
