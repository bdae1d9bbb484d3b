// How it works. Bodies are written by hand, as completions' are; an answer is parsed whole by Boost.JSON, its size bounded before. Each
// entry names its place: a place that is taken twice, missing or beyond the end is an answer to another question.
//
// Tested by tests/inference/upstream_embed_wire_test.cpp.
#include "inference/engines/upstream_embed_wire.h"

#include <algorithm>
#include <bit>
#include <bitset>
#include <cmath>
#include <iterator>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "base/encoding.h"
#include "inference/engines/upstream_wire.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr std::size_t kFrameBytes = 64 << 10;  // Of an answer beside its entries;
constexpr std::size_t kEntryBytes = 1 << 10;   // of an entry beside its numbers or text;
constexpr std::size_t kNumberBytes = 32;       // of a number, however it is written.
constexpr std::size_t kEscapedMost = 6;        // A byte of text as JSON.

absl::Status Strange(std::string_view what) {
  return base::Unavailable(fmt::format("the upstream's answer is no answer to what it was asked: {}", what));
}

std::string Quoted(std::string_view text) { return json::serialize(json::string(text.data(), text.size())); }

std::string Begun(const UpstreamOptions& options) { return fmt::format(R"({{"model":{})", Quoted(options.model)); }

// Where each entry goes.
class Places {
 public:
  explicit Places(std::size_t count) : taken_(count, false) {}

  absl::StatusOr<std::size_t> Take(const json::object& entry) {
    const json::value* index = entry.if_contains("index");
    if (index == nullptr || !index->is_int64()) return Strange("an entry does not say its place");
    const std::int64_t at = index->get_int64();
    if (at < 0 || at >= static_cast<std::int64_t>(taken_.size())) return Strange("an entry has a place that nothing was asked for");
    const auto place = static_cast<std::size_t>(at);
    if (taken_[place]) return Strange("two entries have one place");
    taken_[place] = true;
    return place;
  }

 private:
  std::vector<bool> taken_;
};

absl::StatusOr<float> ReadNumber(const json::value& value) {
  boost::system::error_code error;
  const auto number = value.to_number<double>(error);
  if (error) return Strange("a number is none");
  const auto narrow = static_cast<float>(number);
  if (!std::isfinite(narrow)) return Strange("a number is not finite");
  return narrow;
}

absl::Status ReadBase64(std::string_view text, std::span<float> vector) {
  const auto bytes = base::Base64Decode(text);
  if (!bytes.ok() || bytes->size() != vector.size() * 4) return Strange("a vector in base64 has another length than the model's");
  for (std::size_t i = 0; i < vector.size(); ++i) {
    std::uint32_t bits = 0;  // Little-endian.
    for (std::size_t byte = 4; byte-- > 0;) bits = bits << 8 | static_cast<unsigned char>((*bytes)[i * 4 + byte]);
    vector[i] = std::bit_cast<float>(bits);
    if (!std::isfinite(vector[i])) return Strange("a number is not finite");
  }
  return absl::OkStatus();
}

absl::Status ReadVector(const json::value& value, std::span<float> vector) {
  if (value.is_string()) {
    TG_RETURN_IF_ERROR(ReadBase64({value.get_string().data(), value.get_string().size()}, vector));
  } else if (!value.is_array() || value.get_array().size() != vector.size()) {
    return Strange(fmt::format("a vector has not the {} numbers that the model's file says", vector.size()));
  } else {
    for (std::size_t i = 0; i < vector.size(); ++i) {
      TG_ASSIGN(vector[i], ReadNumber(value.get_array()[i]));
    }
  }
  double square = 0;
  for (const float x : vector) square += static_cast<double>(x) * x;
  if (!(square > 0)) return Strange("a vector has no direction");
  const double scale = 1 / std::sqrt(square);
  for (float& x : vector) x = static_cast<float>(x * scale);
  return absl::OkStatus();
}

absl::StatusOr<json::value> Parse(std::string_view body) {
  boost::system::error_code error;
  json::value value = json::parse({body.data(), body.size()}, error);
  if (error || !value.is_object()) return Strange("it is no JSON object");
  return value;
}

// The entries under `name`: as many objects as were asked for.
absl::StatusOr<const json::array*> Entries(const json::value& answer, const char* name, std::size_t count) {
  const json::value* entries = answer.get_object().if_contains(name);
  if (entries == nullptr || !entries->is_array()) return Strange(fmt::format("it has no list of {}", name));
  const json::array& list = entries->get_array();
  if (list.size() != count) return Strange(fmt::format("it has {} entries for {} texts", list.size(), count));
  if (!std::all_of(list.begin(), list.end(), [](const json::value& entry) { return entry.is_object(); }))
    return Strange("an entry is no object");
  return &list;
}

// Reranking servers of old say the total alone.
absl::Status ReadCount(const json::value& answer, std::optional<std::int64_t>& tokens) {
  const json::value* usage = answer.get_object().if_contains("usage");
  if (usage == nullptr || usage->is_null()) return absl::OkStatus();
  if (!usage->is_object()) return Strange("usage is no object");
  for (const char* name : {"prompt_tokens", "total_tokens"}) {
    const json::value* count = usage->get_object().if_contains(name);
    if (count == nullptr || count->is_null()) continue;
    if (!count->is_int64() || count->get_int64() < 0 || count->get_int64() > kUpstreamCountMax)
      return Strange("a count of tokens is no count");
    tokens = count->get_int64();
    break;
  }
  return absl::OkStatus();
}

}  // namespace

std::string UpstreamEmbedBody(const UpstreamOptions& options, const UpstreamEmbedAsk& ask) {
  std::string body = Begun(options) + R"(,"input":[)";
  for (std::size_t i = 0; i < ask.inputs.size(); ++i) {
    body += i == 0 ? "[" : ",[";
    AppendUpstreamTokens(ask.inputs[i], body);
    body += ']';
  }
  body += ']';
  // Half as long as numbers, and exact. SGLang writes numbers whatever it is asked.
  if (options.kind != UpstreamKind::kSglang) body += R"(,"encoding_format":"base64")";
  AppendUpstreamSalt(options, ask.cache_salt, ask.priority, body);
  body += '}';
  return body;
}

std::string UpstreamRerankBody(const UpstreamOptions& options, const UpstreamEmbedAsk& ask) {
  std::string body = fmt::format(R"({},"query":{},"documents":[)", Begun(options), Quoted(ask.query));
  for (std::size_t i = 0; i < ask.documents.size(); ++i) {
    if (i > 0) body += ',';
    body += Quoted(ask.documents[i]);
  }
  body += ']';
  AppendUpstreamSalt(options, ask.cache_salt, ask.priority, body);
  body += '}';
  return body;
}

std::size_t UpstreamVectorsBytesMax(std::size_t inputs, std::int64_t dimensions) {
  return kFrameBytes + inputs * (kEntryBytes + kNumberBytes * static_cast<std::size_t>(dimensions));
}

std::size_t UpstreamRanksBytesMax(const UpstreamEmbedAsk& ask) {
  std::size_t bytes = kFrameBytes + kEscapedMost * ask.query.size();
  for (const std::string& document : ask.documents) bytes += kEntryBytes + kEscapedMost * document.size();
  return bytes;
}

absl::StatusOr<UpstreamNumbers> ReadUpstreamVectors(std::string_view body, std::size_t inputs, std::int64_t dimensions) {
  TG_ASSIGN(const json::value answer, Parse(body));
  TG_ASSIGN(const json::array* entries, Entries(answer, "data", inputs));
  const auto each = static_cast<std::size_t>(dimensions);
  UpstreamNumbers out;
  out.numbers.resize(inputs * each);
  Places places(inputs);
  for (const json::value& entry : *entries) {
    TG_ASSIGN(const std::size_t place, places.Take(entry.get_object()));
    const json::value* vector = entry.get_object().if_contains("embedding");
    if (vector == nullptr) return Strange("an entry has no vector");
    TG_RETURN_IF_ERROR(ReadVector(*vector, std::span(out.numbers).subspan(place * each, each)));
  }
  TG_RETURN_IF_ERROR(ReadCount(answer, out.input_tokens));
  return out;
}

absl::StatusOr<UpstreamNumbers> ReadUpstreamRanks(std::string_view body, std::size_t documents, bool logits) {
  TG_ASSIGN(const json::value answer, Parse(body));
  TG_ASSIGN(const json::array* entries, Entries(answer, "results", documents));
  UpstreamNumbers out;
  out.numbers.resize(documents);
  Places places(documents);
  for (const json::value& entry : *entries) {
    TG_ASSIGN(const std::size_t place, places.Take(entry.get_object()));
    const json::value* score = entry.get_object().if_contains("relevance_score");
    if (score == nullptr) return Strange("an entry has no score");
    TG_ASSIGN(float number, ReadNumber(*score));
    if (logits) number = 1.0F / (1.0F + std::exp(-number));
    if (!(number >= 0 && number <= 1))
      return Strange(
          "a score is not between 0 and 1: check upstream.kind, and that the server gives probabilities, not what its classifier gave");
    out.numbers[place] = number;
  }
  TG_RETURN_IF_ERROR(ReadCount(answer, out.input_tokens));
  return out;
}

std::string BreakNames(std::string_view text, std::span<const std::string> names) {
  std::bitset<256> begins;
  for (const std::string& name : names) begins.set(static_cast<unsigned char>(name.front()));
  const auto spells = [&](std::string_view rest) {
    return std::any_of(names.begin(), names.end(), [rest](const std::string& name) { return rest.starts_with(name); });
  };
  std::string out;
  out.reserve(text.size());
  bool broken = false;  // Within the first code point of a name.
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (broken && (byte & 0xC0) != 0x80) {
      out += ' ';
      broken = false;
    }
    if (begins[byte] && spells(text.substr(i))) broken = true;
    out += text[i];
  }
  return out;
}

}  // namespace tollgate::inference
