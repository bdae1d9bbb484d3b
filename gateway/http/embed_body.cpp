// `input` is one text, a list of texts, one text as token ids, or a list of those: which one, its first element says. Numbers are written
// with as many digits as give the same float again.
//
// Tested by tests/gateway/http/embed_body_test.cpp.
#include "gateway/http/embed_body.h"

#include <bit>
#include <boost/json/monotonic_resource.hpp>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/http/fields.h"
#include "gateway/http/json_out.h"
#include "gateway/http/policy_told.h"
#include "gateway/http/strict_json.h"
#include "gateway/pipeline/embed_call.h"

namespace tollgate::http_front {
namespace {

namespace json = boost::json;
namespace v1 = tollgate::v1;

constexpr std::int64_t kTokenMax = INT32_MAX;
constexpr std::size_t kNumberBytesMax = 16;  // "-1.23456789e-05,"
constexpr std::size_t kVectorBytesMax = 64;  // What is around its numbers.

// Before anything is built of them.
absl::Status CheckCount(std::string_view name, const json::array& all) {
  if (all.size() <= static_cast<std::size_t>(pipeline::kEmbedTextsMax)) return absl::OkStatus();
  return Refuse("INVALID_VALUE", name,
                fmt::format("Invalid '{}': {} texts are sent, and at most {} are allowed.", name, all.size(), pipeline::kEmbedTextsMax));
}

absl::Status ReadTokens(const std::string& name, const json::array& ids, v1::EmbedInput& input) {
  auto* out = input.mutable_tokens()->mutable_ids();
  out->Reserve(static_cast<int>(ids.size()));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    TG_ASSIGN(const std::int64_t id, ReadInteger(fmt::format("{}[{}]", name, i), ids[i], 0, kTokenMax));
    out->Add(static_cast<std::int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status ReadInput(const json::value& value, v1::EmbedRequest& embed) {
  if (value.is_string()) {
    TG_ASSIGN(*embed.add_inputs()->mutable_text(), ReadString("input", value));
    return absl::OkStatus();
  }
  if (!value.is_array()) return WrongType("input", "a string, an array of strings, or arrays of token ids", value);
  const json::array& all = value.get_array();
  if (!all.empty() && all.front().is_number()) return ReadTokens("input", all, *embed.add_inputs());
  TG_RETURN_IF_ERROR(CheckCount("input", all));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string name = fmt::format("input[{}]", i);
    if (all[i].is_array()) {
      TG_RETURN_IF_ERROR(ReadTokens(name, all[i].get_array(), *embed.add_inputs()));
    } else {
      TG_ASSIGN(*embed.add_inputs()->mutable_text(), ReadString(name, all[i]));
    }
  }
  return absl::OkStatus();
}

// What policy may demand. False: it is another field.
template <typename Request>
absl::StatusOr<bool> ReadDemanded(std::string_view name, const json::value& value, Request& request) {
  if (name != "justification" && name != "accept_terms") return false;
  TG_ASSIGN(*(name == "justification" ? request.mutable_justification() : request.mutable_accept_terms()), ReadString(name, value));
  return true;
}

absl::Status ReadEmbedField(std::string_view name, const json::value& value, EmbeddingsBody& body) {
  if (value.is_null()) return absl::OkStatus();
  v1::EmbedRequest& embed = body.embed;
  if (name == "input") return ReadInput(value, embed);
  if (name == "model") {
    TG_ASSIGN(*embed.mutable_model(), ReadString(name, value));
  } else if (name == "user" || name == "safety_identifier") {
    TG_ASSIGN(const std::string user, ReadString(name, value));
    if (embed.end_user().empty() || name == "safety_identifier") embed.set_end_user(user);
  } else if (name == "dimensions") {
    TG_ASSIGN(const std::int64_t dimensions, ReadInteger(name, value, 1, INT32_MAX));
    embed.set_dimensions(static_cast<std::int32_t>(dimensions));
  } else if (name == "encoding_format") {
    TG_ASSIGN(const std::string format, ReadString(name, value));
    if (format != "float" && format != "base64")
      return Refuse("UNSUPPORTED_VALUE", name, "Unsupported value: 'encoding_format' must be float or base64.");
    body.base64 = format == "base64";
  } else {
    TG_ASSIGN(const bool known, ReadDemanded(name, value, embed));
    return known ? absl::OkStatus() : UnknownField(name);
  }
  return absl::OkStatus();
}

absl::Status ReadDocuments(const json::value& value, v1::RerankRequest& rerank) {
  if (!value.is_array()) return WrongType("documents", "an array of strings", value);
  const json::array& all = value.get_array();
  TG_RETURN_IF_ERROR(CheckCount("documents", all));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string name = fmt::format("documents[{}]", i);
    const json::value* text = &all[i];
    if (all[i].is_object()) {  // {"text": …}, as some clients send.
      text = all[i].get_object().if_contains("text");
      if (text == nullptr || all[i].get_object().size() != 1)
        return Refuse("UNSUPPORTED_VALUE", name,
                      fmt::format("Unsupported value: '{}' must be a string, or an object with 'text' alone.", name));
    }
    TG_ASSIGN(*rerank.add_documents(), ReadString(name, *text));
  }
  return absl::OkStatus();
}

absl::Status ReadRerankField(std::string_view name, const json::value& value, v1::RerankRequest& rerank) {
  if (value.is_null()) return absl::OkStatus();
  if (name == "documents") return ReadDocuments(value, rerank);
  if (name == "model") {
    TG_ASSIGN(*rerank.mutable_model(), ReadString(name, value));
  } else if (name == "query") {
    TG_ASSIGN(*rerank.mutable_query(), ReadString(name, value));
  } else if (name == "user") {
    TG_ASSIGN(*rerank.mutable_end_user(), ReadString(name, value));
  } else if (name == "top_n") {
    TG_ASSIGN(const std::int64_t top, ReadInteger(name, value, 1, INT32_MAX));
    rerank.set_top_n(static_cast<std::int32_t>(top));
  } else if (name == "return_documents") {
    TG_ASSIGN(const bool documents, ReadBool(name, value));
    rerank.set_return_documents(documents);
  } else {
    TG_ASSIGN(const bool known, ReadDemanded(name, value, rerank));
    return known ? absl::OkStatus() : UnknownField(name);
  }
  return absl::OkStatus();
}

template <typename Body, typename Read>
absl::StatusOr<Body> Parse(std::string_view text, Read read) {
  json::monotonic_resource memory;
  TG_ASSIGN(const json::object root, ParseBody(text, &memory));
  Body body;
  for (const auto& field : root) TG_RETURN_IF_ERROR(read(View(field.key()), field.value(), body));
  return body;
}

std::string Base64Of(std::span<const float> vector) {
  std::string bytes;
  bytes.reserve(vector.size() * 4);
  for (const float x : vector) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(bits >> shift & 0xFF));
  }
  return base::Base64Encode(bytes);
}

}  // namespace

absl::StatusOr<EmbeddingsBody> ParseEmbeddings(std::string_view text) {
  TG_ASSIGN(EmbeddingsBody body, Parse<EmbeddingsBody>(text, ReadEmbedField));
  if (body.embed.model().empty()) return MissingField("model");
  if (body.embed.inputs().empty()) return MissingField("input");
  return body;
}

std::string EmbeddingsReply(const pipeline::EmbedAnswer& answer, bool base64) {
  std::string out = R"({"object":"list","data":[)";
  const auto each = static_cast<std::size_t>(answer.dimensions);
  const std::span<const float> numbers(answer.numbers);
  // Else it would be there twice while it grows; memory that is not written to is none.
  out.reserve(numbers.size() * kNumberBytesMax + (each > 0 ? numbers.size() / each : 0) * kVectorBytesMax + 1024);
  auto to = std::back_inserter(out);
  for (std::size_t i = 0; i * each < numbers.size(); ++i) {
    const auto vector = numbers.subspan(i * each, each);
    fmt::format_to(to, R"({}{{"object":"embedding","index":{},"embedding":)", i == 0 ? "" : ",", i);
    if (base64) {
      AppendJsonString(out, Base64Of(vector));
    } else {
      for (std::size_t n = 0; n < vector.size(); ++n) fmt::format_to(to, "{}{}", n == 0 ? '[' : ',', vector[n]);
      out += ']';
    }
    out += '}';
  }
  out += R"(],"model":)";
  AppendJsonString(out, answer.head.model);
  fmt::format_to(to, R"(,"usage":{{"prompt_tokens":{0},"total_tokens":{0}}})", answer.end.usage().input());
  out += PolicyTold(&answer.end.input_policy(), nullptr) + '}';
  return out;
}

absl::StatusOr<v1::RerankRequest> ParseRerank(std::string_view text) {
  TG_ASSIGN(v1::RerankRequest rerank, Parse<v1::RerankRequest>(text, ReadRerankField));
  if (rerank.model().empty()) return MissingField("model");
  if (rerank.query().empty()) return MissingField("query");
  if (rerank.documents().empty()) return MissingField("documents");
  return rerank;
}

std::string RerankReply(const pipeline::RerankAnswer& answer, const std::string& id) {
  std::string out = R"({"id":)";
  AppendJsonString(out, "rerank-" + id);
  out += R"(,"model":)";
  AppendJsonString(out, answer.head.model);
  auto to = std::back_inserter(out);
  fmt::format_to(to, R"(,"usage":{{"prompt_tokens":{0},"total_tokens":{0}}},"results":[)", answer.end.usage().input());
  for (std::size_t i = 0; i < answer.results.size(); ++i) {
    const v1::RankedDocument& result = answer.results[i];
    fmt::format_to(to, R"({}{{"index":{},"relevance_score":{})", i == 0 ? "" : ",", result.index(),
                   static_cast<float>(result.relevance_score()));
    if (result.has_document()) {
      out += R"(,"document":{"text":)";
      AppendJsonString(out, result.document());
      out += '}';
    }
    out += '}';
  }
  out += ']' + PolicyTold(&answer.end.input_policy(), &answer.end.output_policy()) + '}';
  return out;
}

}  // namespace tollgate::http_front
