// Segment by segment, so that ".." can take back what stands before it in both readings at once.
//
// Tested by tests/policy/hosts_test.cpp.
#include "policy/url_path.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "policy/fold.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

bool IsUnreserved(char c) { return IsLetter(c) || IsDigit(c) || std::string_view("-._~").find(c) != std::string_view::npos; }

// What a path holds as it is.
bool IsPlain(char c) { return IsUnreserved(c) || std::string_view("!$&'()*+,;=:@").find(c) != std::string_view::npos; }

// Encoded, these are read as what they stand for by some servers and not by others.
bool Parts(char c) { return c == '/' || c == '\\' || c == '%' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string Code(char c) { return fmt::format("%{:02X}", static_cast<unsigned char>(c)); }

struct Segment {
  std::string exact, loose;
};

Segment ReadSegment(std::string_view text, bool& unclear) {
  Segment out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const int byte = PercentEncodedByte(text, at);
    const bool encoded = byte >= 0;
    const char c = encoded ? static_cast<char>(byte) : text[at];
    unclear = unclear || (encoded ? Parts(c) : c == ';' || c == '%');
    at += encoded ? 2 : 0;
    out.loose += c;
    out.exact += (encoded ? IsUnreserved(c) : IsPlain(c)) ? std::string(1, c) : Code(c);
  }
  return out;
}

}  // namespace

int PercentEncodedByte(std::string_view text, std::size_t at) {
  if (text[at] != '%' || at + 2 >= text.size()) return -1;
  const int high = base::HexValue(text[at + 1]), low = base::HexValue(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

UrlPath::UrlPath(std::string_view path) {
  std::vector<Segment> segments;
  for (std::size_t at = path.empty() ? 0 : 1; at < path.size();) {
    const std::size_t end = std::min(path.find_first_of("/\\", at), path.size());
    Segment segment = ReadSegment(path.substr(at, end - at), unclear);
    unclear = unclear || end == at || (end < path.size() && path[end] == '\\');
    at = end + 1;
    if (segment.exact == "..") {
      if (!segments.empty()) segments.pop_back();
    } else if (segment.exact != ".") {
      segments.push_back(std::move(segment));
    }
  }
  unclear = unclear || path.starts_with('\\');
  for (const Segment& segment : segments) {
    exact += "/" + segment.exact;
    loose += "/" + segment.loose;
  }
  loose = FoldCase(loose);
}

void PathSet::Add(const UrlPath& path) {
  exact_.insert(path.exact);
  loose_.insert(path.loose);
}

PathSet::Holds PathSet::Has(const UrlPath& path) const {
  const auto under = [](std::string_view its, const Paths& paths) {
    for (std::size_t edge = its.size();; edge = its.rfind('/', edge - 1)) {
      if (paths.contains(its.substr(0, edge))) return true;
      if (edge == 0) return false;
    }
  };
  return under(path.exact, exact_) ? Holds::kYes : under(path.loose, loose_) ? Holds::kUnclear : Holds::kNo;
}

}  // namespace tollgate::policy
