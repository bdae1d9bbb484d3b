// A pattern finds what may be an address: scheme, userinfo, host, port and what follows of the URL; the list judges its host. A candidate
// that is rejected is searched again from behind its host, because a URL may carry another one.
//
// Where a list has paths a candidate goes on to the next blank, beyond what is hidden of it: a browser reads brackets, quotes and letters
// of any script as part of a path, and a ".." behind them leads out of it.
//
// Sources: WHATWG URL (host parsing, IPv4 in numbers), Unicode TS 46 (by ICU).
//
// Tested by tests/policy/hosts_test.cpp.
#include "policy/hosts.h"

#include <algorithm>
#include <array>
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
#define TG_PORT "(?:\\.?:\\d{1,5})?"
#define TG_REST "\\.?[/\\\\?#][!#-&*-;=?-Z\\\\_a-z~]{0,512}"

constexpr std::size_t kRestMax = 512;       // Bytes of a URL behind the character that ends its host;
constexpr std::ptrdiff_t kBeyondMax = 512;  // … characters beyond that.
constexpr char kRest[] = TG_PORT "(?:" TG_REST ")?";
constexpr char kRestAndBeyond[] = TG_PORT "(?:" TG_REST "[^\\x{00}-\\x{20}\\x{7F}]{0,512})?";

// One letter is no scheme but a drive.
constexpr char kUrl[] = "(?:[A-Za-z][A-Za-z0-9+.-]{1,15}:[/\\\\]{1,32}|[Hh][Tt][Tt][Pp][Ss]?:|[/\\\\]{2}|[Ww]{3}\\.)" TG_USERINFO TG_HOST;
constexpr char kAlone[] = TG_HOST_CHAR "(?:[A-Za-z0-9_%" TG_OTHER_HOST "-]{0,62})[.\\x{3002}\\x{FF0E}\\x{FF61}]" TG_HOST;

std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const int byte = PercentEncodedByte(text, at);
    out += byte >= 0 ? static_cast<char>(byte) : text[at];
    at += byte >= 0 ? 2 : 0;
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
  std::size_t at = url.find_first_of("/\\:?#");
  if (at == std::string_view::npos) return 0;
  const bool http = url[at] == ':' && IsHttp(url.substr(0, at));  // Needs no slashes.
  if (url[at] == ':' && !http && (at + 1 == url.size() || (url[at + 1] != '/' && url[at + 1] != '\\'))) return 0;
  if (at > 0 && url[at] != ':') return 0;
  at += url[at] == ':' ? 1 : 0;
  while (at < url.size() && (url[at] == '/' || url[at] == '\\')) ++at;
  return at;
}

// How much of a URL from the character that ends its host on is hidden with it: what TG_REST holds.
std::size_t RestBytes(std::string_view text) {
  static constexpr std::string_view kOthers = "\"'()<>[]^`{|}";
  const auto ends = [](char c) { return c <= ' ' || c == 0x7F || kOthers.find(c) != std::string_view::npos; };
  std::size_t at = text.empty() ? 0 : 1;
  while (at < text.size() && at <= kRestMax && !ends(text[at])) ++at;
  return at;
}

// Where a URL ends without the sentence's marks, and those of Markdown if one stands before it.
std::size_t WithoutMarks(std::string_view text, std::size_t after, std::size_t end, char before) {
  const auto is_mark = [before](char c) {
    return std::string_view(".,;:!?").find(c) != std::string_view::npos ||
           (c == before && std::string_view("*_~").find(c) != std::string_view::npos);
  };
  while (end > after && is_mark(text[end - 1])) --end;
  return end;
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

// What stands behind the host of a candidate.
struct HostList::Behind {
  std::string_view path;    // As people read it: without the sentence's marks,
  std::string_view beyond;  // … what is not hidden with it, and a browser may take for more of it,
  std::string_view all;     // … and both.
  bool cut = false;         // It may go on beyond that.

  // ".." beyond leads who knows where, also if somebody decodes it twice.
  bool Climbs() const {
    std::string out = PercentDecoded(PercentDecoded(beyond));
    std::replace(out.begin(), out.end(), '\\', '/');
    return out.find("/..") != std::string::npos;
  }
  Means In(const PathSet& paths) const {
    if (cut || Climbs()) return Means::kUnclear;
    const UrlPath read(path);
    if (read.unclear) return Means::kUnclear;
    const Means its = paths.Has(read);
    return beyond.empty() || its == Means::kYes ? its : std::max(its, paths.Has(UrlPath(all)));
  }
};

absl::StatusOr<std::shared_ptr<const HostList>> HostList::Make(const std::vector<std::string>& names, bool except) {
  auto out = std::make_shared<HostList>();
  out->except_ = except;
  for (const std::string& name : names) TG_RETURN_IF_ERROR(out->Add(name));
  return std::shared_ptr<const HostList>(std::move(out));
}

absl::Status HostList::Add(const std::string& name) {
  const std::size_t slash = std::min(name.find('/'), name.size());
  const std::string host = CanonicalHost(std::string_view(name).substr(0, slash));
  const bool ipv6 = host.starts_with('[') && host.ends_with(']');
  const bool plain = host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") == std::string::npos;
  if (host.empty() || host.size() > 253 || host.starts_with('.') || (!plain && !ipv6)) {
    return base::InvalidArgument(fmt::format(
        "'{}' is no host; write a name without scheme and port, as in example.com (its subdomains are meant too), or with a path, as in "
        "example.com/team",
        name));
  }
  const std::string_view written = std::string_view(name).substr(slash);
  const UrlPath path(written);
  if (path.unclear || path.exact.size() > kRestMax || written.find_first_of(" ?#") != std::string_view::npos) {
    return base::InvalidArgument(
        fmt::format("'{}' has a path that is not read alike everywhere; write at most 512 bytes of it, without query, ';', '//', '\\' and "
                    "encoded slashes",
                    name));
  }
  const auto [at, is_new] = hosts_.try_emplace(host);
  if (path.exact.empty())
    at->second = PathSet();
  else if (is_new || !at->second.empty())
    at->second.Add(path);
  has_paths_ = has_paths_ || !path.exact.empty();
  return absl::OkStatus();
}

// Whether the list means the host, or a domain that it is in, with what stands behind it.
HostList::Means HostList::Look(std::string_view host, const Behind& behind) const {
  const std::string canonical = CanonicalHost(host);
  Means out = Means::kNo;
  const auto look = [&](std::string_view name) {
    const auto at = hosts_.find(name);
    if (at != hosts_.end()) out = std::max(out, at->second.empty() ? Means::kYes : behind.In(at->second));
    return out == Means::kYes;
  };
  if (look(canonical) || Ipv4(canonical)) return out;
  for (std::size_t dot = canonical.find('.'); dot != std::string::npos; dot = canonical.find('.', dot + 1)) {
    if (look(std::string_view(canonical).substr(dot + 1))) break;
  }
  return out;
}

// Of the candidate that begins at `begin`: what is hidden of it ends at `hidden`, without marks at `end`.
HostList::Behind HostList::ReadBehind(std::string_view text, std::size_t begin, std::size_t path, std::size_t end, std::size_t hidden,
                                      std::size_t last) {
  static constexpr std::string_view kOpening = "\"'`([<", kClosing = "\"'`)]>";
  Behind out;
  const std::size_t query = text.substr(0, hidden).find_first_of("?#", path);
  if (end > path && (text[end - 1] == '/' || text[end - 1] == '\\')) end = hidden;  // A segment of dots is no mark.
  out.path = text.substr(path, std::min(query, std::max(end, path)) - path);
  if (query != std::string_view::npos) return out;  // The path is whole.
  out.beyond = text.substr(hidden, last - hidden);
  const bool quoted = out.beyond.starts_with('"') || out.beyond.starts_with('\'');
  while (quoted && out.path.ends_with('\\')) out.path.remove_suffix(1);  // In a string of JSON or code.
  const std::size_t opening = kOpening.find(Before(text, begin));
  if (opening != std::string_view::npos && out.beyond.starts_with(kClosing[opening])) out.beyond = {};
  const auto characters = std::count_if(out.beyond.begin(), out.beyond.end(), [](char c) { return (c & 0xC0) != 0x80; });
  const std::size_t beyond_query = out.beyond.find_first_of("?#");
  out.beyond = out.beyond.substr(0, beyond_query);
  out.all = text.substr(path, hidden + out.beyond.size() - path);
  out.cut = hidden - path > kRestMax || (characters >= kBeyondMax && beyond_query == std::string_view::npos);
  return out;
}

std::size_t HostList::Accept(std::string_view text, std::size_t begin, std::size_t end, std::size_t& after) const {
  const std::string_view url = text.substr(begin, end - begin);
  const std::size_t from = AuthorityBegin(url);
  const std::size_t to = std::min(url.find_first_of("/\\?#", from), url.size());
  std::string_view host = url.substr(from, to - from);
  if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
  if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos && !host.ends_with(']')) host = host.substr(0, colon);
  after = begin + std::max<std::size_t>(to, 1);
  const char before = Before(text, begin);
  const std::size_t hidden = has_paths_ ? begin + to + RestBytes(url.substr(to)) : end;
  end = WithoutMarks(text, after, hidden, '\0');
  const bool emphasised = host.size() > 2 && host.starts_with('_') && (host.ends_with('_') || text[end - 1] == '_');
  if (from == 0 && (before == '@' || before == '/')) return 0;  // The host of a mail address, part of a path.
  // Two slashes alone begin a URL only where pages write one: elsewhere they are a comment, or the middle of something.
  const bool plain = host.find_first_of(".[") == std::string_view::npos && Number(host).value_or(0) < kAddressLeast;
  if (except_ && from > 0 && url[from - 1] == ':' && plain) return 0;  // "http:ok", "HTTP:404".
  const bool bare = from > 0 && (url[0] == '/' || url[0] == '\\');
  if (bare && except_ && std::string_view("(\"'=[<").find(before) == std::string_view::npos) return 0;
  Behind behind;
  if (has_paths_) {
    const std::size_t read_to = WithoutMarks(text, after, end, emphasised ? '_' : before);
    behind = ReadBehind(text, begin, begin + to, read_to, hidden, begin + url.size());
  }
  if (except_) return Look(host, behind) == Means::kYes ? 0 : end;
  if (Look(host, behind) != Means::kNo) return end;
  if (emphasised && Look(host.substr(1, host.size() - (host.ends_with('_') ? 2 : 1)), behind) != Means::kNo) return end;
  // Scripts without spaces go on right behind a host.
  const auto other = std::find_if(host.begin(), host.end(), [](char c) { return static_cast<signed char>(c) < 0; });
  const auto length = static_cast<std::size_t>(other - host.begin());
  const bool followed = length > 0 && length < host.size() && Look(host.substr(0, length), {}) != Means::kNo;
  return followed ? begin + static_cast<std::size_t>(host.data() - url.data()) + length : 0;
}

namespace {

// What all lists share: it takes megabytes. The first two without paths; of each two the URL comes first.
const Pattern& FormOf(bool paths, bool alone) {
  static const std::array<std::shared_ptr<const Pattern>, 4> forms = [] {
    std::array<std::shared_ptr<const Pattern>, 4> out;
    for (std::size_t i = 0; i < out.size(); ++i) {
      auto regex = ParseRegex(fmt::format("{}{}", i % 2 == 0 ? kUrl : kAlone, i < 2 ? kRest : kRestAndBeyond), false);
      TG_CHECK(regex.ok(), "the form of a URL is no regex");
      PatternSpec spec;
      spec.regex = *std::move(regex);
      spec.label = "URL";
      auto made = Pattern::Compile(std::move(spec));
      TG_CHECK(made.ok(), "the form of a URL does not compile");
      out[i] = *std::move(made);
    }
    return out;
  }();
  return *forms[(paths ? 2 : 0) + (alone ? 1 : 0)];
}

}  // namespace

absl::StatusOr<std::vector<std::shared_ptr<const Pattern>>> HostPatterns(const std::vector<std::string>& names, bool except) {
  TG_ASSIGN(const auto list, HostList::Make(names, except));
  std::vector<std::shared_ptr<const Pattern>> out = {FormOf(list->has_paths(), false).With(list)};
  if (!except) out.push_back(FormOf(list->has_paths(), true).With(list));  // Not for these: any word with a dot may be one.
  return out;
}

}  // namespace tollgate::policy
