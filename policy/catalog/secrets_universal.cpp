// What no single issuer gives out. Without a prefix, a place tells: a name to the left of a value, a header, a file's first line.
//
// Sources: RFC 7468 (PEM), RFC 7519 (JWT), RFC 7617 and 6750 (Authorization), RFC 3986 (credentials in URLs), BIP 32 (extended keys), age
// v1, the file formats of PuTTY, netrc, htpasswd, shadow, WireGuard and kubectl.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/secrets.h"

namespace tollgate::policy {
namespace {

#define TG_KEY_HEADER "(?:[A-Z0-9]{1,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----"

constexpr SecretKind kRows[] = {
    {"private_key_pem", "private_key",
     "-----BEGIN " TG_KEY_HEADER "(?:[A-Za-z0-9+/=\\s:,.\\\\]|-[A-Za-z0-9])*(?:-----END " TG_KEY_HEADER ")?", 0, nullptr, 4096},
    {"putty_private_key", "", R"(PuTTY-User-Key-File-[23]: [a-z0-9-]{4,40})"},
    {"age_secret_key", "", R"(\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})", 3},
    {"wireguard_private_key", "", R"(\bPrivateKey = [A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)", 3.5},
    {"kubeconfig_client_key", "", R"(client-key-data: [A-Za-z0-9+/]{64,})", 3.5, nullptr, 2048},
    {"jwt", "", R"(\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})", 0, nullptr, 2048},
    {"http_basic_auth", "", R"((?i:authorization)["']?[ \t]{0,3}[:=][ \t]{0,3}["']?(?i:basic) [A-Za-z0-9+/]{12,400}={0,2})", 3},
    {"http_bearer_token", "", R"((?i:authorization)["']?[ \t]{0,3}[:=][ \t]{0,3}["']?(?i:bearer|token) [A-Za-z0-9._~+/-]{20,400}={0,2})",
     3.2, AcceptMixedToken},
    {"curl_user_password", "", R"((?:-u|--user)[ =]["']?[A-Za-z0-9._@-]{1,64}:[^\s"':<>`]{4,100})", 0, AcceptCurlPassword, 0, "curl|wget"},
    {"url_credentials", "", R"(\b[a-z][a-z0-9+]{2,15}://[A-Za-z0-9._~%!$&*+=-]{0,64}:[A-Za-z0-9._~%!$&*+=-]{3,100}@[A-Za-z0-9.-]{1,100})"},
    {"connection_string_password", "", R"(; ?(?i:password|pwd) ?=[^;\s"'<>`]{4,100})", 0, AcceptConnectionPassword, 0,
     "server|data source|host|user id|uid|database|initial catalog"},
    {"netrc_password", "", R"(\bmachine [A-Za-z0-9.-]{3,80}\s{1,4}login \S{1,80}\s{1,4}password [^\s<>`"]{4,100})", 0, AcceptNetrcPassword},
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
    {"generic_api_key", "api_key",
     "(?i:api.?key|access.?key|secret.?key|auth.?token|access.?token|client.?secret|app.?secret|secret|token|passwd|password)"
     "[\"'`]?[ \\t]{0,3}(?:=>|[:=])[ \\t]{0,3}[\"'`]?[A-Za-z0-9_./+~=-]{16,200}",
     0, AcceptAssignedKey},
};

}  // namespace

std::span<const SecretKind> UniversalSecrets() { return kRows; }

}  // namespace tollgate::policy
