// A filter gives text back with parts of it replaced, and says where. What it was pushed is walked beside that: what was not replaced is
// written again as what it was, string or not, byte by byte.
//
// Tested by tests/policy/json_parts_test.cpp.
#include "policy/json_parts.h"

#include <iterator>

#include <boost/json.hpp>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::policy {
namespace {

namespace json = boost::json;

void AppendEscaped(std::string& out, char c) {
  switch (c) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    case '\b': out += "\\b"; break;
    case '\f': out += "\\f"; break;
    default:
      if (static_cast<unsigned char>(c) < 0x20) {
        out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
      } else {
        out += c;
      }
  }
}

// The string literal at the start of `text`, quotes included; `text` is sound JSON from there on.
std::string_view Literal(std::string_view text) {
  std::size_t end = 1;
  while (text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  return text.substr(0, end + 1);
}

}  // namespace

std::optional<std::vector<std::string>> CutJson(std::string_view text) {
  boost::system::error_code error;
  const json::parse_options options{.max_depth = 64};
  const json::value whole = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return std::nullopt;
  std::vector<std::string> parts(1);
  while (!text.empty()) {
    parts.back() += text.front();
    if (text.front() != '"') {
      text.remove_prefix(1);
      continue;
    }
    const std::string_view literal = Literal(text);
    const json::value read = json::parse({literal.data(), literal.size()}, error, {}, options);
    if (error || !read.is_string()) return std::nullopt;
    parts.emplace_back(read.get_string().data(), read.get_string().size());
    parts.emplace_back("\"");
    text.remove_prefix(literal.size());
  }
  return parts;
}

std::string JsonDecoded(std::string_view text) {
  const auto parts = CutJson(text);
  if (!parts) return std::string(text);
  std::string out;
  for (const std::string& part : *parts) out += part;
  return out;
}

std::string JoinJson(std::span<const std::string> parts) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i % 2 == 0) out += parts[i];
    for (std::size_t c = 0; i % 2 == 1 && c < parts[i].size(); ++c) AppendEscaped(out, parts[i][c]);
  }
  return out;
}

void AddJson(std::string_view json, std::vector<std::string>& parts) {
  if (auto cut = CutJson(json)) {
    parts.insert(parts.end(), std::make_move_iterator(cut->begin()), std::make_move_iterator(cut->end()));
  } else {
    parts.emplace_back(json);
  }
}

std::string JsonOf(std::span<const std::string> parts, std::size_t before, std::string_view original) {
  std::vector<std::string> was;
  AddJson(original, was);
  if (parts.size() == before + was.size()) return was.size() == 1 ? parts[before] : JoinJson(parts.subspan(before));
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

std::optional<std::vector<std::string>> SecondReading(const Message& message) {
  if (message.role != Role::kTool || message.aside) return std::nullopt;
  const std::string text = TextOf(message);
  return text.find('\\') == std::string::npos ? std::nullopt : CutJson(text);
}

bool IsDecoded(Part part, bool output) { return part == Part::kToolCall || (part == Part::kToolDefinition && !output); }

std::vector<Message> PromptOf(Role role, Channel channel, std::string_view text) {
  if (role == Role::kTool && channel.part == Part::kText) channel.part = Part::kToolResult;
  const bool decoded = IsDecoded(channel.part, false);
  std::vector<Message> out{{role, "", {}, decoded && role != Role::kTool, std::move(channel)}};
  if (decoded) {
    AddJson(text, out[0].parts);
  } else {
    out[0].parts.emplace_back(text);
  }
  if (auto reading = SecondReading(out[0])) out.push_back({Role::kTool, "", *std::move(reading), true, Channel(out[0].channel)});
  return out;
}

std::string TextUsed(const Message& used, std::string_view text) {
  return IsDecoded(used.channel.part, false) ? JsonOf(used.parts, 0, text) : TextOf(used);
}

absl::StatusOr<std::string> FilterJson(std::string_view text, StreamFilter& filter) {
  const auto parts = CutJson(text);
  std::string decoded, strings;  // The text, and for each byte whether it is in a string.
  if (parts) {
    for (std::size_t i = 0; i < parts->size(); ++i) {
      decoded += (*parts)[i];
      strings.append((*parts)[i].size(), static_cast<char>(i % 2));
    }
  } else {
    decoded = text;
    strings.append(text.size(), '\0');
  }
  TG_ASSIGN(std::string out, filter.Push(decoded));
  TG_ASSIGN(const std::string rest, filter.Finish());
  out += rest;
  std::string clear;
  std::size_t at = 0, next = 0;  // In `decoded`, and of what was replaced.
  const auto write = [&](char c) {
    if (parts) {
      AppendEscaped(clear, c);
    } else {
      clear += c;
    }
  };
  for (std::size_t i = 0; i < out.size() || next < filter.replaced().size();) {
    if (next < filter.replaced().size() && static_cast<std::size_t>(filter.replaced()[next].first) == i) {
      const RawSpan& span = filter.raw()[next];
      const bool quoted = parts && at < strings.size() && strings[at] == 0;
      if (quoted) clear += '"';
      for (; i < static_cast<std::size_t>(filter.replaced()[next].second); ++i) write(out[i]);
      if (quoted) clear += '"';
      at = static_cast<std::size_t>(span.offset) + span.bytes.size();
      ++next;
      continue;
    }
    if (at >= decoded.size()) break;
    if (strings[at] != 0) {
      write(out[i]);
    } else {
      clear += out[i];
    }
    ++i;
    ++at;
  }
  return clear;
}

}  // namespace tollgate::policy
