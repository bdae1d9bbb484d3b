// A machine over what is held: each step either moves on or needs more text. A call is read in three states (what opens it, its JSON, what
// closes it); where one fails, its marker is said as text and the search goes on behind it. JSON is followed by brackets and quotes alone
// until it ends, then read strictly, so that a long call is looked at twice and no more.
//
// Tested by tests/inference/output_parser_test.cpp.
#include "inference/output_parser.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr std::string_view kWhite = " \t\r\n";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kCallsBegin = "<｜tool▁calls▁begin｜>";
constexpr std::string_view kCallBegin = "<｜tool▁call▁begin｜>";
constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
constexpr std::string_view kCallEnd = "<｜tool▁call▁end｜>";
constexpr std::string_view kCallsEnd = "<｜tool▁calls▁end｜>";
constexpr std::string_view kNameHead = R"({"name":")";
constexpr std::string_view kParametersHead = R"({"parameters":)";
constexpr std::size_t kNameBytesMax = 256;
constexpr int kNoCallsMax = 64;  // Each may cost a look at all that is held; after so many, nothing is a call any more.

bool IsWhite(char c) { return kWhite.find(c) != std::string_view::npos; }

// Bytes at the end of `text` that may be the beginning of `marker`.
std::size_t BeginningAtEnd(std::string_view text, std::string_view marker) {
  for (std::size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (marker.starts_with(text.substr(text.size() - n))) return n;
  }
  return 0;
}

std::size_t WithoutWhiteAtEnd(std::string_view text) { return text.find_last_not_of(kWhite) + 1; }

// The text of the member's value as it was written. `text` is a sound JSON object that has it once.
std::string MemberText(std::string_view text, std::string_view key) {
  int depth = 0;
  std::size_t begin = std::string_view::npos;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      const std::size_t from = ++i;
      while (text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      if (depth == 1 && begin == std::string_view::npos && text.substr(from, i - from) == key) {
        std::size_t colon = i + 1;
        while (IsWhite(text[colon])) ++colon;
        if (text[colon] == ':') begin = i = colon;
      }
      continue;
    }
    if (text[i] == '{' || text[i] == '[') ++depth;
    const bool ends = depth == 1 && (text[i] == ',' || text[i] == '}') && begin != std::string_view::npos;
    if (ends) {
      std::string_view value = text.substr(begin + 1, i - begin - 1);
      value.remove_prefix(std::min(value.find_first_not_of(kWhite), value.size()));
      return std::string(value.substr(0, WithoutWhiteAtEnd(value)));
    }
    if (text[i] == '}' || text[i] == ']') --depth;
  }
  return "{}";
}

}  // namespace

OutputParser::OutputParser(OutputSyntax syntax)
    : syntax_(std::move(syntax)),
      state_(syntax_.thinks ? (syntax_.in_thought ? State::kThought : State::kStart) : State::kAnswer),
      white_(syntax_.thinks && syntax_.in_thought) {}

void OutputParser::Push(std::string_view raw, std::vector<OutputPart>& parts) {
  held_ += raw;
  Run(parts);
}

void OutputParser::Finish(std::vector<OutputPart>& parts) {
  at_end_ = true;
  Run(parts);
}

void OutputParser::Run(std::vector<OutputPart>& parts) {
  Step step = Step::kGoOn;
  while (step == Step::kGoOn) {
    switch (state_) {
      case State::kStart: step = Start(parts); break;
      case State::kThought: step = Thought(parts); break;
      case State::kAnswer: step = Answer(parts); break;
      case State::kOpen: step = syntax_.tools == ToolStyle::kDeepSeek ? OpenDeepSeek(parts) : Open(parts); break;
      case State::kValue: step = Value(parts); break;
      case State::kClose: step = Close(parts); break;
    }
    const bool in_call = state_ == State::kOpen || state_ == State::kValue || state_ == State::kClose;
    if (step == Step::kMore && in_call && (at_end_ || held_.size() - marker_ > kCallBytesMax)) step = NoCall(parts);
  }
}

// Gives the first bytes of what is held.
void OutputParser::Give(OutputPart::Kind kind, std::size_t bytes, std::vector<OutputPart>& parts) {
  if (bytes == 0) return;
  given_ += static_cast<std::int64_t>(bytes);
  if (kind != OutputPart::kNothing && !parts.empty() && parts.back().kind == kind &&
      parts.back().raw_end == given_ - static_cast<std::int64_t>(bytes)) {
    parts.back().text.append(held_, 0, bytes);
    parts.back().raw_end = given_;
  } else {
    parts.push_back({.kind = kind, .text = kind == OutputPart::kNothing ? "" : held_.substr(0, bytes), .raw_end = given_});
  }
  held_.erase(0, bytes);
}

OutputParser::Step OutputParser::Start(std::vector<OutputPart>& parts) {
  const std::size_t white = std::min(held_.find_first_not_of(kWhite), held_.size());
  const std::string_view rest = std::string_view(held_).substr(white);
  if (rest.starts_with(kThink)) {
    Give(OutputPart::kNothing, white + kThink.size(), parts);
    state_ = State::kThought;
    white_ = true;
    return Step::kGoOn;
  }
  if (kThink.starts_with(rest) && !at_end_) return Step::kMore;
  state_ = State::kAnswer;
  return Step::kGoOn;
}

OutputParser::Step OutputParser::Thought(std::vector<OutputPart>& parts) {
  if (white_) Give(OutputPart::kNothing, std::min(held_.find_first_not_of(kWhite), held_.size()), parts);
  if (held_.empty()) return Step::kMore;
  const std::size_t end = held_.find(kThinkEnd);
  const std::size_t open = end != std::string::npos ? end : held_.size() - (at_end_ ? 0 : BeginningAtEnd(held_, kThinkEnd));
  const std::size_t said = WithoutWhiteAtEnd(std::string_view(held_).substr(0, open));
  white_ = white_ && said == 0;
  Give(OutputPart::kThought, said, parts);
  if (end == std::string::npos) {
    if (at_end_) Give(OutputPart::kNothing, held_.size(), parts);
    return Step::kMore;
  }
  Give(OutputPart::kNothing, end - said + kThinkEnd.size(), parts);
  state_ = State::kAnswer;
  white_ = true;
  return Step::kGoOn;
}

std::string_view OutputParser::Marker() const {
  switch (syntax_.tools) {
    case ToolStyle::kHermes: return "<tool_call>";
    case ToolStyle::kMistral: return "[TOOL_CALLS]";
    case ToolStyle::kDeepSeek: return kCallsBegin;
    default: return {};
  }
}

OutputParser::Step OutputParser::Answer(std::vector<OutputPart>& parts) {
  if (white_) Give(OutputPart::kNothing, std::min(held_.find_first_not_of(kWhite), held_.size()), parts);
  if (held_.empty()) return Step::kMore;
  white_ = false;
  std::size_t marker = std::string::npos;
  std::size_t open = held_.size();  // What comes before may be said.
  if (syntax_.tools == ToolStyle::kLlama && may_call_) {
    const std::size_t first = held_.find_first_not_of(given_ == 0 ? " \t\r\n" : " \t\r\n;");
    if (first == std::string::npos && !at_end_) return Step::kMore;
    may_call_ = first != std::string::npos && held_[first] == '{';
    if (may_call_) marker = first;
  } else if (!Marker().empty()) {
    marker = held_.find(Marker());
    open = marker != std::string::npos ? marker : held_.size() - (at_end_ ? 0 : BeginningAtEnd(held_, Marker()));
    if (!at_end_ || marker != std::string::npos) open = WithoutWhiteAtEnd(std::string_view(held_).substr(0, open));
    if (marker != std::string::npos) marker -= open;
  }
  if (marker == std::string::npos || syntax_.tools != ToolStyle::kLlama) Give(OutputPart::kText, open, parts);
  if (marker == std::string::npos) return Step::kMore;
  marker_ = marker;
  at_ = marker_ + Marker().size();
  calls_.clear();
  state_ = State::kOpen;
  return Step::kGoOn;
}

std::string_view OutputParser::open_call() const {
  const bool open = state_ == State::kOpen || state_ == State::kValue || state_ == State::kClose;
  return open ? std::string_view(held_).substr(marker_ + Marker().size()) : std::string_view();
}

void OutputParser::SkipWhite() {
  while (at_ < held_.size() && IsWhite(held_[at_])) ++at_;
}

OutputParser::Met OutputParser::Expect(std::string_view literal) {
  const std::string_view rest = std::string_view(held_).substr(at_);
  if (rest.starts_with(literal)) {
    at_ += literal.size();
    return Met::kYes;
  }
  return literal.starts_with(rest) ? Met::kMore : Met::kNo;
}

OutputParser::Step OutputParser::Open(std::vector<OutputPart>& parts) {
  SkipWhite();
  if (at_ == held_.size()) return Step::kMore;
  const bool object = held_[at_] == '{' && syntax_.tools != ToolStyle::kMistral;
  const bool list = held_[at_] == '[' && syntax_.tools != ToolStyle::kLlama;
  if (!object && !list) return NoCall(parts);
  return OpenValue();
}

// <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n{…}, or from V3.1 on <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}
OutputParser::Step OutputParser::OpenDeepSeek(std::vector<OutputPart>& parts) {
  const std::size_t from = at_;
  const auto more = [&] {
    at_ = from;
    return Step::kMore;
  };
  SkipWhite();
  if (!calls_.empty()) {
    const Met end = Expect(kCallsEnd);
    if (end == Met::kYes) return Done(parts);
    if (end == Met::kMore) return more();
  }
  const Met begin = Expect(kCallBegin);
  if (begin == Met::kMore) return more();
  if (begin == Met::kNo) return NoCall(parts);
  const std::size_t separator = held_.find(kSeparator, at_);
  if (separator == std::string::npos) return held_.size() - at_ > kNameBytesMax ? NoCall(parts) : more();
  name_ = held_.substr(at_, separator - at_);
  at_ = separator + kSeparator.size();
  if (at_ == held_.size()) return more();
  if (held_[at_] == '{') return OpenValue();
  if (name_ != "function") return NoCall(parts);
  const std::size_t line = held_.find('\n', at_);
  if (line == std::string::npos) return held_.size() - at_ > kNameBytesMax ? NoCall(parts) : more();
  name_ = held_.substr(at_, line - at_);
  at_ = line + 1;
  const Met met = Expect("```json\n{");
  if (met == Met::kMore) return more();
  if (met == Met::kNo) return NoCall(parts);
  --at_;
  return OpenValue();
}

OutputParser::Step OutputParser::OpenValue() {
  value_ = at_;
  depth_ = 0;
  head_.clear();
  head_known_ = syntax_.tools != ToolStyle::kLlama;
  state_ = State::kValue;
  return Step::kGoOn;
}

// No marker says that a call of Llama's was begun: any answer in JSON begins as one, and is none once its first member is another's.
bool OutputParser::MayCall(char next) {
  if (head_known_ || (!in_string_ && IsWhite(next))) return true;
  if (in_string_ && next == '\\') return head_known_ = true;  // What an escape stands for is read with the whole.
  head_ += next;
  if (head_ == kParametersHead) return head_known_ = true;
  if (kNameHead.starts_with(head_) || kParametersHead.starts_with(head_)) return true;
  if (!head_.starts_with(kNameHead)) return false;
  const std::string_view name = std::string_view(head_).substr(kNameHead.size());
  for (const std::string& known : syntax_.names) {
    if (known.starts_with(name)) return true;
    if (next == '"' && name.substr(0, name.size() - 1) == known) return head_known_ = true;
  }
  return false;
}

OutputParser::Step OutputParser::Value(std::vector<OutputPart>& parts) {
  for (; at_ < held_.size(); ++at_) {
    const char c = held_[at_];
    if (!MayCall(c)) return NoCall(parts);
    if (in_string_) {
      if (!std::exchange(escaped_, !escaped_ && c == '\\') && c == '"') in_string_ = false;
      continue;
    }
    in_string_ = c == '"';
    if (c == '{' || c == '[') ++depth_;
    if ((c != '}' && c != ']') || --depth_ > 0) continue;
    ++at_;
    if (!TakeCalls(std::string_view(held_).substr(value_, at_ - value_))) return NoCall(parts);
    state_ = State::kClose;
    return Step::kGoOn;
  }
  return Step::kMore;
}

// Whether all of them are calls that may be made.
bool OutputParser::TakeCalls(std::string_view value) {
  boost::system::error_code error;
  const json::value root = json::parse({value.data(), value.size()}, error, {}, json::parse_options{.max_depth = 64});
  if (error) return false;
  const auto known = [&](std::string_view name) {
    return std::find(syntax_.names.begin(), syntax_.names.end(), name) != syntax_.names.end();
  };
  if (syntax_.tools == ToolStyle::kDeepSeek) {
    calls_.push_back({.kind = OutputPart::kCall, .text = std::string(value), .name = name_});
    return known(name_) && root.is_object();
  }
  const std::string_view key = syntax_.tools == ToolStyle::kLlama ? "parameters" : "arguments";
  const auto take = [&](const json::value& call, std::string_view text) {
    if (!call.is_object()) return false;
    const json::object& fields = call.get_object();
    const json::value* name = fields.if_contains("name");
    const json::value* arguments = fields.if_contains({key.data(), key.size()});
    const bool id = fields.contains("id") && syntax_.tools == ToolStyle::kMistral;
    if (name == nullptr || !name->is_string() || arguments == nullptr || !arguments->is_object() || fields.size() != (id ? 3 : 2))
      return false;
    const std::string written = MemberText(text, key);
    calls_.push_back({.kind = OutputPart::kCall, .text = written, .name = std::string(name->get_string())});
    return known(calls_.back().name) && json::parse(written, error) == *arguments && !error;  // A member that comes twice is no member.
  };
  if (root.is_object()) return take(root, value);
  // Each item by its own text: they are what brackets hold together at depth 1.
  int depth = 0;
  bool string = false;
  std::size_t begin = 0, item = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (string) {
      if (c == '\\') ++i;
      string = c != '"';
      continue;
    }
    string = c == '"';
    if ((c == '{' || c == '[') && depth++ == 1) begin = i;
    if ((c == '}' || c == ']') && --depth == 1) {
      if (item >= root.get_array().size() || !take(root.get_array()[item++], value.substr(begin, i + 1 - begin))) return false;
    }
  }
  return item > 0 && item == root.get_array().size();
}

OutputParser::Step OutputParser::Close(std::vector<OutputPart>& parts) {
  if (syntax_.tools == ToolStyle::kLlama || syntax_.tools == ToolStyle::kMistral) return Done(parts);
  const std::size_t from = at_;
  SkipWhite();
  std::vector<std::string_view> literals = {"</tool_call>"};
  if (syntax_.tools == ToolStyle::kDeepSeek) {
    literals = {kCallEnd};
    if (held_[value_ - 1] == '\n') literals.insert(literals.begin(), "```");
  }
  for (const std::string_view literal : literals) {
    const Met met = Expect(literal);
    if (met == Met::kNo) return NoCall(parts);
    if (met == Met::kMore) {
      at_ = from;
      return Step::kMore;
    }
  }
  if (syntax_.tools == ToolStyle::kHermes) return Done(parts);
  state_ = State::kOpen;
  return Step::kGoOn;
}

// What looked like a call is text; another may begin behind its marker.
OutputParser::Step OutputParser::NoCall(std::vector<OutputPart>& parts) {
  state_ = State::kAnswer;
  in_string_ = escaped_ = false;
  if (syntax_.tools == ToolStyle::kLlama) {
    may_call_ = false;
    return Step::kGoOn;
  }
  Give(OutputPart::kText, marker_ + Marker().size(), parts);
  if (++no_calls_ == kNoCallsMax) syntax_.tools = ToolStyle::kNone;
  return Step::kGoOn;
}

OutputParser::Step OutputParser::Done(std::vector<OutputPart>& parts) {
  if (at_ - marker_ > kCallBytesMax) return NoCall(parts);  // As it would be had it come in pieces.
  given_ += static_cast<std::int64_t>(at_);
  held_.erase(0, at_);
  for (OutputPart& call : calls_) {
    call.raw_end = given_;
    parts.push_back(std::move(call));
  }
  calls_.clear();
  white_ = true;
  state_ = State::kAnswer;
  return Step::kGoOn;
}

}  // namespace tollgate::inference
