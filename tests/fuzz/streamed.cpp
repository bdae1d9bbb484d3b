#include "tests/fuzz/streamed.h"

#include <algorithm>

#include "base/encoding.h"

namespace tollgate::fuzz {
namespace {

using policy::Filtered;
using policy::RawSpan;

// Between the replaced spans the text left as it was, and behind each stands what was there: raw and replaced spans tell one another's
// places.
void CheckPlaces(const policy::StreamFilter& filter, std::string_view text, std::string_view out) {
  std::size_t raw_at = 0, out_at = 0;
  TG_CHECK(filter.raw().size() == filter.replaced().size(), "raw and replaced spans are not the same ones");
  for (std::size_t i = 0; i < filter.raw().size(); ++i) {
    const RawSpan& raw = filter.raw()[i];
    const auto& [begin, end] = filter.replaced()[i];
    const auto offset = static_cast<std::size_t>(raw.offset), first = static_cast<std::size_t>(begin), last = static_cast<std::size_t>(end);
    TG_CHECK(offset >= raw_at && first >= out_at && last >= first && last <= out.size(), "spans overlap or lie outside");
    TG_CHECK(text.substr(offset, raw.bytes.size()) == raw.bytes, "a raw span's bytes are not those of its place");
    TG_CHECK(text.substr(raw_at, offset - raw_at) == out.substr(out_at, first - out_at), "text between spans did not leave as it was");
    raw_at = offset + raw.bytes.size();
    out_at = last;
  }
  TG_CHECK(text.substr(raw_at) == out.substr(out_at), "text behind the last span did not leave as it was");
}

}  // namespace

std::size_t CodePointBytes(std::string_view text, std::size_t at) {
  std::size_t length = 1;
  while (at + length < text.size() && (static_cast<unsigned char>(text[at + length]) & 0xC0) == 0x80) ++length;
  return length;
}

std::string StreamAndCompare(const policy::PolicySet& policies, std::string_view text, const std::function<std::size_t()>& points) {
  const auto whole = policies.FilterWhole({}, text);
  const auto filter = policies.OpenOutput({});
  TG_CHECK(whole.ok() == base::IsValidUtf8(text), "a text is judged if and only if it is UTF-8");
  if (!whole.ok()) {
    TG_CHECK(!filter->Push(text).ok(), "the stream takes what the whole text's filter refuses");
    return "";
  }
  std::string out;
  const auto take = [&](const absl::StatusOr<std::string>& released) {
    TG_CHECK(released.ok(), "a good piece is refused");
    out += *released;
    TG_CHECK(whole->text.starts_with(out), "what left is not how the whole text's judgement begins");
    TG_CHECK(base::IsValidUtf8(*released), "what leaves is not whole code points");
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    for (std::size_t n = std::max<std::size_t>(1, points()); n > 0 && end < text.size(); --n) end += CodePointBytes(text, end);
    take(filter->Push(text.substr(at, end - at)));
    at = end;
  }
  take(filter->Finish());
  TG_CHECK(out == whole->text, "the stream gives other text than the whole");
  TG_CHECK(filter->blocked() == whole->blocked, "one of stream and whole is blocked");
  TG_CHECK(filter->verdict() == whole->verdict, "stream and whole have different verdicts");
  TG_CHECK(filter->raw() == whole->raw, "stream and whole keep different raw spans");
  if (!filter->blocked()) CheckPlaces(*filter, text, out);
  return out;
}

}  // namespace tollgate::fuzz
