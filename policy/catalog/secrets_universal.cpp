// What no single issuer gives out. Without a prefix, a place tells: a name to the left of a value, a header, a file's first line.
//
// Sources: RFC 7468 (PEM), RFC 7519 (JWT), RFC 7617 and 6750 (Authorization), RFC 3986 (credentials in URLs), BIP 32 (extended keys), age
// v1, RFC 7516 (JWE), the file formats of PuTTY, netrc, htpasswd, shadow, WireGuard and kubectl.
//
// Tested by tests/policy/catalog_test.cpp and tests/policy/secret_forms_test.cpp.
#include "policy/catalog/secrets.h"

namespace tollgate::policy {
namespace {

#define TG_KEY_HEADER "(?:[A-Z0-9]{1,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
#define TG_BASE64 "[A-Za-z0-9+/=]"
// Between the lines of a key: line ends, written as they are or escaped, and what quotes, comments, tables and code put before and behind.
#define TG_BREAK "(?:[\\s\"'`+>#|*,;/\\\\]|\\\\[nrt]|<br ?/?>)"
#define TG_LINES "(?:" TG_BREAK "+" TG_BASE64 "{16,})*"
#define TG_LAST_LINE "(?:" TG_BREAK "+" TG_BASE64 "{1,31})"
#define TG_FIELD(names) TG_BREAK "+" names ": [^\\r\\n\\\\]{0,80}"
#define TG_PUTTY_FIELD TG_FIELD("(?:Encryption|Comment|Public-Lines|Private-Lines|Key-Derivation|Argon2-[A-Z][a-z]{3,12})")

// What stands between the name of a secret and its value. `names` are names without case: of a variable, of a field of JSON, XML or an
// object, in a call, in a list of names and values, of a heading.
#define TG_SIGN "[\"'`\\])*]{0,3}[ \\t]{0,16}(?::[ \\t]{0,2}[A-Za-z]{3,10}[?]?[ \\t]{0,2})?(?::=|=>|={1,3}|:|\xEF\xBC\x9A)[*]{0,2}"
#define TG_LAID_OUT "(?:[ \\t]{0,16}|[ \\t]{0,4}\\r?\\n[ \\t]{0,8})"
#define TG_QUOTE "(?:[fbruFBRU]{0,2}[\"'`])?"
#define TG_PAIR "[\"'`][ \\t]{0,3},[ \\t]{0,16}[\"'`]"
#define TG_VALUE_OF "[\"'`]?[ \\t]{0,3},?\\s{0,20}[\"']?(?i:value)[\"']?[ \\t]{0,3}[:=][ \\t]{0,3}[\"']?"
#define TG_ASSIGNED "(?:" TG_SIGN TG_LAID_OUT TG_QUOTE "|" TG_PAIR "|" TG_VALUE_OF "|[\"']?>)"

#define TG_KEY_NAMES                                                                                                                    \
  "(?:api|app|application|access|secret|auth|ai|encryption|encrypt|crypto|cipher|signing|signature|subscription|master|private|shared|" \
  "account|service|admin|deploy|jwt|hmac|aes|fernet).?key(?:.?base)?|(?:auth.?|access.?)?token|(?:client.?|app.?)?secret|passwd|password"
#define TG_KEY_VALUE "[A-Za-z0-9_./+~=-]{16,200}[(]?"

#define TG_PASSWORD_NAMES                                                              \
  "pass(?:word|wd|phrase|wort)|[_-]pass|kennwort|wachtwoord|contrase(?:ñ|n)a|mot de " \
  "passe|senha|has(?:ł|l)o|пароль|pwd|[_-]pw|密码|パスワード"
#define TG_PASSWORD_CHAR "[!#-&(-;=?-_a-~\xC3\x80-\xC5\xBF]"

#define TG_CONNECTION_NAMES "server|data source|host|user id|uid|user|username|database|initial catalog"

constexpr SecretKind kRows[] = {
    {"private_key_pem", "private_key",
     "-----BEGIN " TG_KEY_HEADER "(?:" TG_FIELD("[A-Z][A-Za-z-]{2,24}") "){0,4}" TG_BREAK "*(?:" TG_BASE64 "{32,}|" TG_BASE64
                                                                        "{16,}" TG_BREAK "+" TG_BASE64 "{16,})" TG_LINES "(?:" TG_BREAK
                                                                        "+[A-Za-z0-9+/]{1,31}={1,2})?(?:" TG_BREAK "+=[A-Za-z0-9+/]{4})?"
                                                                        "(?:" TG_LAST_LINE "{0,2}" TG_BREAK "*-----END " TG_KEY_HEADER ")?",
     0, AcceptPrivateKey, 4096},
    {"putty_private_key", "",
     "PuTTY-User-Key-File-[23]: [a-z0-9-]{4,40}(?:" TG_PUTTY_FIELD "){0,3}" TG_LINES "(?:" TG_LAST_LINE "?(?:" TG_PUTTY_FIELD
     "){1,6}" TG_LINES ")?(?:" TG_LAST_LINE "?" TG_BREAK "+Private-MAC: [0-9a-f]{40,64})?",
     0, nullptr, 4096},
    {"age_secret_key", "", R"(\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})", 3},
    {"wireguard_private_key", "", R"(\bPrivateKey[ \t]{0,3}=[ \t]{0,3}[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)", 3.5},
    {"wireguard_preshared_key", "", R"(\bPresharedKey[ \t]{0,3}=[ \t]{0,3}[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)", 3.5},
    {"kubeconfig_client_key", "", R"(client-key-data: [A-Za-z0-9+/]{64,})", 3.5, nullptr, 2048},
    {"jwt", "", R"(\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})", 0, nullptr, 2048},
    {"jwe", "", R"(\beyJ[A-Za-z0-9_-]{13,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{16,22}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{16,43})", 0, nullptr, 2048},
    {"http_basic_auth", "", R"((?i:authorization)["'\]]{0,2}[ \t]{0,3}[:=,][ \t]{0,3}["'`]?(?i:basic) [A-Za-z0-9+/]{12,400}={0,2})", 3},
    {"http_bearer_token", "",
     R"((?i:authorization)["'\]]{0,2}[ \t]{0,3}[:=,][ \t]{0,3}(?:[fbruFBRU]{0,2}["'`])?(?i:bearer|token) [A-Za-z0-9._~+/-]{20,400}={0,2})",
     3.2, AcceptMixedToken},
    {"curl_user_password", "", R"(\B(?:-u[ =]?|--user[ =])["']?[A-Za-z0-9._@-]{1,64}:[^\s"':<>`]{4,100})", 0, AcceptCurlPassword, 0,
     "curl|wget"},
    {"curl_user_password", "", R"(\B(?:-u[ =]?|--user[ =])["']?[A-Za-z][A-Za-z0-9._@-]{0,63}:[^\s"':<>`]{6,100})", 0, AcceptUserPassword},
    {"url_credentials", "", R"(\b[A-Za-z][A-Za-z0-9+]{2,15}://[^\s:/"'<>`?#]{0,64}:[^\s/"'<>`]{3,100}@[A-Za-z0-9.-]{1,100})", 0,
     AcceptUrlPassword},
    {"connection_string_password", "", R"(;[ \t]{0,3}(?i:password|pwd)(?:=|[ \t]{1,3}=[ \t]{1,3})["']?[^;\s"'<>`]{4,100})", 0,
     AcceptConnectionPassword, 0, TG_CONNECTION_NAMES},
    {"connection_string_password", "",
     R"(\b(?i:password|pwd)(?:=|[ \t]{1,3}=[ \t]{1,3})["']?[^;\s"'<>`]{4,100}["']?;[ \t]{0,3}(?i:)" TG_CONNECTION_NAMES R"()[ \t]{0,3}=)",
     0, AcceptConnectionPassword},
    {"netrc_password", "", R"(\bmachine [A-Za-z0-9.-]{3,80}\s{1,12}login \S{1,80}\s{1,12}password [^\s<>`"]{4,100})", 0,
     AcceptNetrcPassword},
    {"assigned_password", "password", "(?i:" TG_PASSWORD_NAMES ")[0-9]{0,2}" TG_ASSIGNED TG_PASSWORD_CHAR "{6,80}", 0,
     AcceptAssignedPassword},
    {"assigned_password", "password", "--(?:[a-z]{2,12}-)?pass(?:word|wd|phrase)?[ \\t]{1,2}[\"']?" TG_PASSWORD_CHAR "{6,80}", 0,
     AcceptAssignedPassword},
    {"assigned_password", "password",
     "(?i:pass(?:word|wd|phrase|wort|code)|kennwort|wachtwoord|contrase(?:ñ|n)a|mot de passe|senha)(?: (?:for|of)(?: "
     "[\\w.@/-]{1,16}){1,3})?"
     "(?: (?:is|was|ist|lautet|est|es|è|é)(?: now| set to| changed to)?):?[ \\t]{1,2}[\"'`“]?" TG_PASSWORD_CHAR "{6,64}",
     0, AcceptPasswordInWords},
    {"bcrypt_hash", "", R"(\$2[abxy]\$[0-3][0-9]\$[A-Za-z0-9./]{53})", 3.5},
    {"unix_password_hash", "", R"(\$(?:1|5|6|y|7)\$(?:rounds=[0-9]{1,9}\$)?[A-Za-z0-9./]{1,24}\$[A-Za-z0-9./$]{22,120})", 3.5},
    {"argon2_hash", "",
     R"(\$argon2(?:id|i|d)\$v=[0-9]{1,3}\$m=[0-9]{1,9},t=[0-9]{1,4},p=[0-9]{1,3}\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,128})", 3.5},
    {"htpasswd_md5", "", R"(\$apr1\$[A-Za-z0-9./]{1,8}\$[A-Za-z0-9./]{22})", 3},
    {"ntlm_hash_dump", "", R"(\b[A-Za-z0-9._$-]{1,40}:[0-9]{1,6}:[a-fA-F0-9]{32}:[a-fA-F0-9]{32}:::)", 2.5},
    {"bitcoin_extended_private_key", "", R"(\b[xyz]prv[1-9A-HJ-NP-Za-km-z]{107,108}\b)", 3.5},
    {"bitcoin_wif_key", "", R"(\b(?:5[1-9A-HJ-NP-Za-km-z]{50}|[KL][1-9A-HJ-NP-Za-km-z]{51})\b)", 3, AcceptBase58Check},
    {"ethereum_private_key", "", R"((?i:private.?key|priv.?key|secret)["']?[ \t]{0,3}[:=][ \t]{0,3}["']?(?:0x)?[a-fA-F0-9]{64}\b)", 3},
    {"session_cookie", "",
     R"((?i:(?:jsessionid|phpsessid|connect\.sid|_session|sessionid|laravel_session|asp\.net_sessionid)=)[A-Za-z0-9%._-]{24,256})", 3.4,
     AcceptMixedToken},
    {"generic_api_key", "api_key", "(?i:" TG_KEY_NAMES ")(?:" TG_ASSIGNED "|[ \\t](?:is|was)[ \\t:]{1,3}[\"'`]?)" TG_KEY_VALUE, 0,
     AcceptAssignedKey},
    {"generic_api_key", "api_key", "--(?:[a-z]{2,12}-){0,2}(?:key|token|secret)[ \\t]{1,2}[\"']?" TG_KEY_VALUE, 0, AcceptAssignedKey},
};

}  // namespace

std::span<const SecretKind> UniversalSecrets() { return kRows; }

}  // namespace tollgate::policy
