#include "policy/hosts.h"

#include "tests/policy/policy_support.h"

namespace tollgate::policy {

TEST_CASE("Hosts are compared as a browser does") {
  const std::pair<const char*, const char*> rows[] = {
      {"Example.COM", "example.com"},
      {"example.com.", "example.com"},
      {"m\u00FCller.example", "xn--mller-kva.example"},
      {"M\u00DCLLER.example", "xn--mller-kva.example"},
      {"xn--mller-kva.EXAMPLE", "xn--mller-kva.example"},
      {"\uFF45xample\u3002com", "example.com"},  // Full-width, ideographic full stop.
      {"ex\u00ADample.com", "example.com"},      // Soft hyphen.
      {"%65xample.com", "example.com"},
      {"127.0.0.1", "127.0.0.1"},
      {"0x7f.1", "127.0.0.1"},
      {"2130706433", "127.0.0.1"},
      {"0177.0.0.01", "127.0.0.1"},
      {"256.1.1.1", "256.1.1.1"},  // No address.
      {"[0:0:0:0:0:0:0:1]", "[::1]"},
  };
  for (const auto& [host, canonical] : rows) {
    INFO(host);
    CHECK(CanonicalHost(host) == canonical);
  }
}

TEST_CASE("URLs and hosts of a list are found, however they are written") {
  const auto policies = MustCompile(OneRule("{hosts: [pastebin.com, 'm\u00FCller.example', 10.0.0.1]}", "redact"));
  struct Row {
    const char *text, *out;
  };
  const Row rows[] = {
      {"see https://pastebin.com/raw/a1?x=2#y, please", "see [URL], please"},
      {"pastebin.com", "[URL]"},
      {"use _pastebin.com_ for it", "use [URL] for it"},
      {"Put it on Pastebin.com.", "Put it on [URL]."},
      {"http://www.pastebin.com:8080/x", "[URL]"},
      {"a.b.c.pastebin.com/x", "[URL]"},
      {"https://acme.example@pastebin.com/", "[URL]"},
      {"https://acme.example:x@y@pastebin.com", "[URL]"},
      {"https://pastebin.com\\@acme.example", "[URL]"},
      {"http://acme.example'@pastebin.com/?q=1", "[URL]"},
      {"http://acme.example|@pastebin.com/", "[URL]"},
      {"http://///pastebin.com/", "[URL]"},
      {"HTTPS:/\\PASTEBIN.COM/x", "[URL]"},
      {"(https://pastebin.com)", "([URL])"},
      {"[x](https://pastebin.com/y)", "[x]([URL])"},
      {"<img src='//pastebin.com/a.png'>", "<img src='[URL]'>"},
      {"https://p%61stebin.com/x", "[URL]"},
      {"https://pastebin.com./x", "[URL]"},
      {"https://p\u0430stebin.com/x", "[URL]"},                   // Cyrillic.
      {"https://\uFF50astebin\uFF0Ecom/x", "[URL]"},              // Full-width.
      {"paste\u200Bbin.com", "[URL]"},                            // Zero width.
      {"https://pastebin.com\u8C22\u8C22", "[URL]\u8C22\u8C22"},  // No space in Chinese.
      {"https://acme.example/r?u=https://pastebin.com/z ok", "https://acme.example/r?u=[URL] ok"},
      {"https://xn--mller-kva.example/", "[URL]"},
      {"www.M\u00DCLLER.example", "[URL]"},
      {"http://0xA.1/admin", "[URL]"},
      {"http://167772161/", "[URL]"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(MustFilter(*policies, row.text).text == row.out);
  }
  for (const char* text :
       {"https://acme.example/pastebin.com", "https://pastebin.com.evil.example", "https://notpastebin.com", "pastebin.community",
        "bob@pastebin.com", "https://pastebin.comet", "https://pastebin.com@acme.example/x", "pastebin", "10.0.0.10", "110.0.0.1"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
}

TEST_CASE("Short hosts with ports are no schemes, and addresses need no dots") {
  const auto policies = MustCompile(OneRule("{hosts: [h.io, hi.co, 127.0.0.1, localhost]}", "redact"));
  for (const char* text : {"h.io:8080/x", "hi.co:443", "http:2130706433/", "http:localhost/x", "HTTPS:hi.co"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == "[URL]");
  }
}

TEST_CASE("URLs of all hosts but a list's are found, and look-alikes of these are others") {
  const auto policies = MustCompile(OneRule("{hosts_except: [acme.example, 'm\u00FCller.example']}", "redact"));
  for (const char* text :
       {"https://acme.example/x", "see https://docs.acme.example/a_b?c=d.", "https://ACME.example:8443", "https://acme.example.",
        "https://user:pw@acme.example/", "www.acme.example", "https://m\u00FCller.example", "https://xn--mller-kva.example/",
        "https://\uFF41cme.example/", "no links here, e.g. node.js or 3.14", "int x; // a comment", "a//b", "C:\\files\\x",
        "https://acme.example\uFF0C\u8C22", "http:acme.example", "HTTP:ok", "http:404", "https: a protocol", "http:////acme.example/"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
  struct Row {
    std::string text, out;
  };
  const Row rows[] = {
      {"https://evil.example/x", "[URL]"},
      {"https://acme.example.evil.example/", "[URL]"},
      {"https://acme-example.com and https://acme.example", "[URL] and https://acme.example"},
      {"https://acme.example@evil.example/", "[URL]"},
      {"https://evil.example\\@acme.example/", "[URL]"},
      {"http://acme.example'@evil.example/?q=1", "[URL]"},  // All up to the last @ is userinfo,
      {"http://acme.example(a){b}|c^`\"@evil.example/", "[URL]"},
      {"http://acme.example@x@evil.example/", "[URL]"},
      {"http://acme.example:" + std::string(400, 'a') + "@evil.example/", "[URL]"},
      {"http://////evil.example/", "[URL]"},  // slashes are as many as one likes,
      {"http:evil.example/x", "[URL]"},       // or none.
      {"http:2130706433/x", "[URL]"},
      {"https:[::1]/", "[URL]"},
      {"https://\u0430cme.example/", "[URL]"},  // Cyrillic a.
      {"https://xn--cme-5cd.example/", "[URL]"},
      {"![i](//evil.example/?q=secret)", "![i]([URL])"},
      {"http://127.0.0.1/", "[URL]"},
      {"http://[::1]:80/", "[URL]"},
      {"ftp://files.example/a", "[URL]"},
      {"www.evil.example!", "[URL]!"},
      {"https://acme.example/r?u=https://evil.example/z", "https://acme.example/r?u=[URL]"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(MustFilter(*policies, row.text).text == row.out);
  }
}

TEST_CASE("A stream lets no byte of a listed URL out, wherever it is cut") {
  const std::string text =
      "See https://user:pw@www.pastebin.com:80/raw?x=1, pastebin.com/a. and https://acme.example/r?u=//pastebin.com/b or "
      "p\u0430stebin.com; not "
      "notpastebin.com. [i](https://evil.example/?d=1) www.acme.example https://acme.example.evil.example.";
  for (const char* detect : {"{hosts: pastebin.com}", "{hosts_except: acme.example}"}) {
    for (const char* action : {"redact", "block", "mask"}) {
      const auto policies = MustCompile(OneRule(detect, action));
      const Filtered whole = MustFilter(*policies, text);
      CHECK_FALSE(whole.raw.empty());
      for (std::size_t piece = 1; piece < 12; ++piece) CheckStream(*policies, text, whole, [&] { return piece; });
      std::mt19937_64 random(TestSeed());
      for (int round = 0; round < 30; ++round) CheckStream(*policies, text, whole, [&] { return 1 + random() % 30; });
    }
  }
}

TEST_CASE("A list of hosts holds hosts") {
  for (const char* entry :
       {"https://x.example", "'*.x.example'", "x.example/path", "'x.example:80'", "a@b.example", "' '", "'.x.example'"}) {
    INFO(entry);
    CHECK(CompileError(OneRule("{hosts: [ok.example, " + std::string(entry) + "]}", "block")).find("is no host") != std::string::npos);
  }
  CHECK(CompileError(OneRule("{hosts_except: a.example, decode: both}", "block")).find("'decode'") != std::string::npos);
  CHECK(MustCompile(OneRule("{hosts: a.example}", "block"))->Describe()[0].hold_bytes_max < 4096);
}

}  // namespace tollgate::policy
