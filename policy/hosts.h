// URLs and hosts by list: what a browser would connect to, however the address is written.
//
// A name in a list stands for itself and its subdomains; an IP address for itself. Names are compared as a browser does (WHATWG URL, UTS
// 46): without case, final dots and percent-encoding, international names in their ASCII form (punycode), IPv4 addresses in any notation.
// What stands before the last @ is no host, and a backslash ends one.
//
// A name with a path ("github.com/acme") stands for what lies at or below the path: dot segments resolved, unreserved characters decoded
// (RFC 3986 6.2.2). Where a path may be read in two ways, or goes on beyond what is looked at, it counts: as one of a list, and as one
// that is not excepted. Immutable; any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/pattern.h"
#include "policy/url_path.h"

namespace tollgate::policy {

class HostList {
 public:
  // INVALID_ARGUMENT names the entry and what to write instead.
  static absl::StatusOr<std::shared_ptr<const HostList>> Make(const std::vector<std::string>& names, bool except);

  // Judges a candidate [begin, end) of `text`: where the hit ends; 0 for none, and `after` is where to look on.
  std::size_t Accept(std::string_view text, std::size_t begin, std::size_t end, std::size_t& after) const;

  bool has_paths() const { return has_paths_; }

 private:
  using Means = PathSet::Holds;
  struct Behind;
  static Behind ReadBehind(std::string_view text, std::size_t begin, std::size_t path, std::size_t end, std::size_t hidden,
                           std::size_t last);
  absl::Status Add(const std::string& name);
  Means Look(std::string_view host, const Behind& behind) const;

  std::map<std::string, PathSet, std::less<>> hosts_;  // Without paths: all of the host.
  bool except_ = false, has_paths_ = false;
};

// A host as it is compared: "M\u00FCller.example." is "xn--mller-kva.example", "0x7f.1" is "127.0.0.1".
std::string CanonicalHost(std::string_view host);

// What finds URLs of the listed hosts, and the hosts standing alone; with `except` URLs of all others. Errors as HostList::Make.
absl::StatusOr<std::vector<std::shared_ptr<const Pattern>>> HostPatterns(const std::vector<std::string>& names, bool except);

}  // namespace tollgate::policy
