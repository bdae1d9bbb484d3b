// Paths of URLs, compared as browsers and servers do (RFC 3986 6.2.2), and sets of them. Used by hosts. Values; any thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace tollgate::policy {

// The byte that an escape (%2F) at `at`, which is in the text, stands for; -1 if none is there.
int PercentEncodedByte(std::string_view text, std::size_t at);

// A path from its first '/' on, without query and fragment, in the ways in which it may be read. Both end without '/': the root is "".
struct UrlPath {
  explicit UrlPath(std::string_view path);

  std::string exact;     // Dot segments resolved; codes decoded where RFC 3986 says that it changes nothing, else in capitals.
  std::string loose;     // The same with all codes decoded and without case.
  bool unclear = false;  // Others may read it otherwise: encoded slashes, empty segments, backslashes, ';', codes that are none.
};

// Paths, each of which stands for itself and all below it.
class PathSet {
 public:
  enum class Holds { kNo, kUnclear, kYes };

  void Add(const UrlPath& path);
  bool empty() const { return exact_.empty(); }
  // kUnclear: in one way of reading it. Whether `path` itself is unclear is not asked.
  Holds Has(const UrlPath& path) const;

 private:
  using Paths = std::set<std::string, std::less<>>;
  Paths exact_, loose_;
};

}  // namespace tollgate::policy
