// Parameters travel as text: integers in decimal, bytea in hex ("\x00ff"), arrays as the literal {"a",NULL,"\\x00"} with every element
// in quotes, so that no element can be taken for NULL or for syntax. Only Blobs at the end of the list travel as they are, because
// libpqxx takes parameters in sequences of one kind each.
// Tested by tests/base/postgres_params_test.cpp.
#include "base/postgres_params.h"

#include <charconv>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/postgres.h"

namespace tollgate::base {
namespace {

std::string HexForm(const Blob& blob) { return "\\x" + HexEncode(blob.bytes); }

void AppendQuoted(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

void AppendElement(std::string& out, const Value& item) {
  if (std::holds_alternative<std::monostate>(item)) {
    out += "NULL";
  } else if (const auto* number = std::get_if<std::int64_t>(&item)) {
    out += std::to_string(*number);
  } else if (const auto* blob = std::get_if<Blob>(&item)) {
    AppendQuoted(out, HexForm(*blob));
  } else {
    AppendQuoted(out, std::get<std::string>(item));
  }
}

}  // namespace

absl::StatusOr<std::vector<std::optional<std::string>>> TextParams(std::span<const Value> params) {
  std::vector<std::optional<std::string>> out;
  out.reserve(params.size());
  for (const Value& value : params) {
    if (std::holds_alternative<std::monostate>(value)) {
      out.emplace_back(std::nullopt);
    } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
      out.emplace_back(std::to_string(*number));
    } else if (const auto* blob = std::get_if<Blob>(&value)) {
      out.emplace_back(HexForm(*blob));
    } else {
      const auto& text = std::get<std::string>(value);
      if (text.find('\0') != std::string::npos) return InvalidArgument("a text parameter holds a zero byte, which Postgres cannot store");
      out.emplace_back(text);
    }
  }
  return out;
}

absl::StatusOr<WireParams> ToWire(const std::vector<Value>& params) {
  std::size_t tail = params.size();
  while (tail > 0 && std::holds_alternative<Blob>(params[tail - 1])) --tail;
  WireParams wire;
  TG_ASSIGN(wire.texts, TextParams(std::span(params).first(tail)));
  for (const Value& value : std::span(params).subspan(tail)) wire.binaries.push_back(&std::get<Blob>(value).bytes);
  return wire;
}

Value ArrayOf(const std::vector<Value>& items) {
  std::string out = "{";
  for (const Value& item : items) {
    if (out.size() > 1) out.push_back(',');
    AppendElement(out, item);
  }
  out.push_back('}');
  return out;
}

const std::string& Rows::Text(std::size_t row, std::size_t column) const {
  TG_CHECK(row < rows_.size() && column < rows_[row].size() && rows_[row][column].has_value(),
           "a column that may not be NULL is NULL or absent");
  return *rows_[row][column];
}

std::int64_t Rows::Int(std::size_t row, std::size_t column) const {
  const std::string& text = Text(row, column);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  TG_CHECK(error == std::errc() && end == text.data() + text.size(), "a column that should hold an integer does not");
  return value;
}

std::string Rows::Bytes(std::size_t row, std::size_t column) const {
  const std::string& text = Text(row, column);
  TG_CHECK(text.starts_with("\\x"), "a column that should be bytea is not");
  const auto bytes = HexDecode(std::string_view(text).substr(2));
  TG_CHECK(bytes.ok(), "a column that should be bytea is not");
  return *bytes;
}

}  // namespace tollgate::base
