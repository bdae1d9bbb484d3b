// URLs and hosts by list: what a browser would connect to, however the address is written.
//
// A name in a list stands for itself and its subdomains; an IP address for itself. Names are compared as a browser does (WHATWG URL, UTS
// 46): without case, final dots and percent-encoding, international names in their ASCII form (punycode), IPv4 addresses in any notation.
// What stands before the last @ is no host, and a backslash ends one. Immutable; any thread.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/pattern.h"

namespace tollgate::policy {

class HostList {
 public:
  // INVALID_ARGUMENT names the entry and what to write instead.
  static absl::StatusOr<std::shared_ptr<const HostList>> Make(const std::vector<std::string>& names, bool except);

  // Judges a candidate [begin, end) of `text`: where the hit ends; 0 for none, and `after` is where to look on.
  std::size_t Accept(std::string_view text, std::size_t begin, std::size_t end, std::size_t& after) const;

  // The host or a domain that it is in is in the list.
  bool Has(std::string_view host) const;

 private:
  std::set<std::string, std::less<>> names_;
  bool except_ = false;
};

// A host as it is compared: "M\u00FCller.example." is "xn--mller-kva.example", "0x7f.1" is "127.0.0.1".
std::string CanonicalHost(std::string_view host);

// What finds URLs of the listed hosts, and the hosts standing alone; with `except` URLs of all others. Errors as HostList::Make.
absl::StatusOr<std::vector<std::shared_ptr<const Pattern>>> HostPatterns(const std::vector<std::string>& names, bool except);

}  // namespace tollgate::policy
