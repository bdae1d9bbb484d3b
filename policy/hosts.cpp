// A pattern finds what may be an address: scheme, userinfo, host, port and what follows of the URL; the list judges its host. A candidate
// that is rejected is searched again from behind its host, because a URL may carry another one.
//
// Sources: WHATWG URL (host parsing, IPv4 in numbers), Unicode TS 46 (by ICU).
//
// Tested by tests/policy/hosts_test.cpp.
#include "policy/hosts.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unicode/uidna.h>

#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// What a host may hold beyond ASCII: letters and marks of all scripts, and what UTS 46 maps to them; not the punctuation beside it.
#define TG_OTHER_HOST                                                                                                                     \
  "\\x{AA}\\x{AD}\\x{B5}\\x{BA}\\x{C0}-\\x{1FFF}\\x{200B}-\\x{200D}\\x{2060}\\x{2100}-\\x{214F}\\x{2460}-\\x{24FF}\\x{2C00}-\\x{2DFF}"    \
  "\\x{3005}-\\x{3007}\\x{3021}-\\x{D7FF}\\x{F900}-\\x{FDFF}\\x{FE70}-\\x{FEFF}\\x{FF10}-\\x{FF19}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}" \
  "\\x{10000}-\\x{3FFFF}"
#define TG_HOST_CHAR "[A-Za-z0-9_%" TG_OTHER_HOST "]"
#define TG_HOST_INNER "[A-Za-z0-9_%.\\x{3002}\\x{FF0E}\\x{FF61}" TG_OTHER_HOST "-]"
#define TG_HOST "(?:" TG_HOST_CHAR "(?:" TG_HOST_INNER "{0,250}" TG_HOST_CHAR ")?|\\[[0-9A-Fa-f:.]{2,45}\\])"
#define TG_USERINFO "(?:[^\\x{00}-\\x{20}/\\\\?#]{0,512}@)?"
#define TG_REST "(?:\\.?:\\d{1,5})?(?:\\.?[/\\\\?#][!#-&*-;=?-Z\\\\_a-z~]{0,512})?"

// One letter is no scheme but a drive.
constexpr char kUrl[] =
    "(?:[A-Za-z][A-Za-z0-9+.-]{1,15}:[/\\\\]{1,32}|[Hh][Tt][Tt][Pp][Ss]?:|[/\\\\]{2}|[Ww]{3}\\.)" TG_USERINFO TG_HOST TG_REST;
constexpr char kAlone[] = TG_HOST_CHAR "(?:[A-Za-z0-9_%" TG_OTHER_HOST "-]{0,62})[.\\x{3002}\\x{FF0E}\\x{FF61}]" TG_HOST TG_REST;

std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned value = 0;
    const char* const digits = text.data() + at + 1;
    const bool escape = text[at] == '%' && at + 2 < text.size() && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2;
    out += escape ? static_cast<char>(value) : text[at];
    at += escape ? 2 : 0;
  }
  return out;
}

// What is less is no number that somebody writes for an address.
constexpr std::uint64_t kAddressLeast = 1 << 24;

std::optional<std::uint64_t> Number(std::string_view text) {
  int radix = 10;
  if (text.size() > 1 && text[0] == '0') {
    radix = Lower(text[1]) == 'x' ? 16 : 8;
    text.remove_prefix(radix == 16 ? 2 : 1);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
  const bool whole = end == text.data() + text.size() && (error == std::errc() || text.empty());
  return whole ? std::optional(value) : std::nullopt;
}

// An IPv4 address of one to four numbers, of which the last fills what is left.
std::optional<std::string> Ipv4(std::string_view host) {
  std::vector<std::uint64_t> parts;
  for (std::size_t at = 0; at <= host.size();) {
    const std::size_t dot = std::min(host.find('.', at), host.size());
    const auto part = at == dot ? std::nullopt : Number(host.substr(at, dot - at));
    if (!part || parts.size() == 4) return std::nullopt;
    parts.push_back(*part);
    at = dot + 1;
  }
  std::uint64_t address = parts.back();
  if (address >= std::uint64_t{1} << (8 * (5 - parts.size()))) return std::nullopt;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    if (parts[i] > 255) return std::nullopt;
    address |= parts[i] << (8 * (3 - i));
  }
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

// "[0:0::1]" as "[::1]".
std::string Ipv6(const std::string& host) {
  in6_addr address{};
  char text[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &address) != 1) return host;
  return inet_ntop(AF_INET6, &address, text, sizeof(text)) == nullptr ? host : "[" + std::string(text) + "]";
}

// The ASCII form of an international name, or nothing.
std::string ToAscii(const std::string& host) {
  static const UIDNA* const idna = [] {
    UErrorCode error = U_ZERO_ERROR;
    return uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII, &error);
  }();
  std::string out(1024, '\0');
  UIDNAInfo info = UIDNA_INFO_INITIALIZER;
  UErrorCode error = U_ZERO_ERROR;
  const std::int32_t length = uidna_nameToASCII_UTF8(idna, host.data(), static_cast<std::int32_t>(host.size()), out.data(),
                                                     static_cast<std::int32_t>(out.size()), &info, &error);
  if (U_FAILURE(error) || length > static_cast<std::int32_t>(out.size())) return "";
  out.resize(static_cast<std::size_t>(length));
  return out;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
}

bool IsHttp(std::string_view scheme) {
  const auto is = [scheme](std::string_view name) {
    return std::equal(scheme.begin(), scheme.end(), name.begin(), name.end(), [](char a, char b) { return Lower(a) == b; });
  };
  return is("http") || is("https");
}

// Where the authority of a candidate begins: behind scheme and slashes. Of "www." nothing is left out.
std::size_t AuthorityBegin(std::string_view url) {
  std::size_t at = url.find_first_of("/\\:");
  if (at == std::string_view::npos) return 0;
  const bool http = url[at] == ':' && IsHttp(url.substr(0, at));  // Needs no slashes.
  if (url[at] == ':' && !http && (at + 1 == url.size() || (url[at + 1] != '/' && url[at + 1] != '\\'))) return 0;
  if (at > 0 && url[at] != ':') return 0;
  at += url[at] == ':' ? 1 : 0;
  while (at < url.size() && (url[at] == '/' || url[at] == '\\')) ++at;
  return at;
}

}  // namespace

std::string CanonicalHost(std::string_view host) {
  std::string out = host.find('%') == std::string_view::npos ? std::string(host) : PercentDecoded(host);
  if (!IsAscii(out)) {
    std::string ascii = ToAscii(out);
    if (!ascii.empty()) out = std::move(ascii);
  }
  while (out.ends_with('.')) out.pop_back();
  std::transform(out.begin(), out.end(), out.begin(), Lower);
  return out.starts_with('[') && out.ends_with(']') ? Ipv6(out) : Ipv4(out).value_or(out);
}

absl::StatusOr<std::shared_ptr<const HostList>> HostList::Make(const std::vector<std::string>& names, bool except) {
  auto out = std::make_shared<HostList>();
  out->except_ = except;
  for (const std::string& name : names) {
    const std::string host = CanonicalHost(name);
    const bool ipv6 = host.starts_with('[') && host.ends_with(']');
    const bool plain = host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") == std::string::npos;
    if (host.empty() || host.size() > 253 || host.starts_with('.') || (!plain && !ipv6)) {
      return base::InvalidArgument(fmt::format(
          "'{}' is no host; write a name without scheme, port and path, as in example.com (its subdomains are meant too)", name));
    }
    out->names_.insert(host);
  }
  return std::shared_ptr<const HostList>(std::move(out));
}

bool HostList::Has(std::string_view host) const {
  const std::string canonical = CanonicalHost(host);
  if (names_.contains(canonical)) return true;
  if (Ipv4(canonical)) return false;
  for (std::size_t dot = canonical.find('.'); dot != std::string::npos; dot = canonical.find('.', dot + 1)) {
    if (names_.contains(std::string_view(canonical).substr(dot + 1))) return true;
  }
  return false;
}

std::size_t HostList::Accept(std::string_view text, std::size_t begin, std::size_t end, std::size_t& after) const {
  const std::string_view url = text.substr(begin, end - begin);
  const std::size_t from = AuthorityBegin(url);
  const std::size_t to = std::min(url.find_first_of("/\\?#", from), url.size());
  std::string_view host = url.substr(from, to - from);
  if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
  if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos && !host.ends_with(']')) host = host.substr(0, colon);
  after = begin + std::max<std::size_t>(to, 1);
  while (end > after && std::string_view(".,;:!?").find(text[end - 1]) != std::string_view::npos) --end;  // The sentence's.
  const char before = Before(text, begin);
  if (from == 0 && (before == '@' || before == '/')) return 0;  // The host of a mail address, part of a path.
  // Two slashes alone begin a URL only where pages write one: elsewhere they are a comment, or the middle of something.
  const bool plain = host.find_first_of(".[") == std::string_view::npos && Number(host).value_or(0) < kAddressLeast;
  if (except_ && from > 0 && url[from - 1] == ':' && plain) return 0;  // "http:ok", "HTTP:404".
  const bool bare = from > 0 && (url[0] == '/' || url[0] == '\\');
  if (bare && except_ && std::string_view("(\"'=[<").find(before) == std::string_view::npos) return 0;
  if (except_) return Has(host) ? 0 : end;
  if (Has(host)) return end;
  const bool emphasised = host.size() > 2 && host.starts_with('_') && host.ends_with('_');
  if (emphasised && Has(host.substr(1, host.size() - 2))) return end;
  // Scripts without spaces go on right behind a host.
  const auto other = std::find_if(host.begin(), host.end(), [](char c) { return static_cast<signed char>(c) < 0; });
  const auto length = static_cast<std::size_t>(other - host.begin());
  const bool followed = length > 0 && length < host.size() && Has(host.substr(0, length));
  return followed ? begin + static_cast<std::size_t>(host.data() - url.data()) + length : 0;
}

absl::StatusOr<std::vector<std::shared_ptr<const Pattern>>> HostPatterns(const std::vector<std::string>& names, bool except) {
  TG_ASSIGN(const auto list, HostList::Make(names, except));
  std::vector<std::shared_ptr<const Pattern>> out;
  for (const char* regex : {kUrl, kAlone}) {
    if (except && regex == kAlone) continue;  // Any word with a dot may be one.
    PatternSpec spec;
    TG_ASSIGN(spec.regex, ParseRegex(regex, false));
    spec.label = "URL";
    spec.hosts = list;
    TG_ASSIGN(auto pattern, Pattern::Compile(std::move(spec)));
    out.push_back(std::move(pattern));
  }
  return out;
}

}  // namespace tollgate::policy
