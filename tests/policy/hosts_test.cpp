#include "policy/hosts.h"

#include "policy/bundle.h"
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
      {"pastebin.com?u=https://acme.example/", "[URL]"},  // No scheme ends in the query.
      {"use _pastebin.com/raw_ for it", "use [URL] for it"},
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

TEST_CASE("Paths are compared as browsers do, and what others may read otherwise is unclear") {
  struct Row {
    const char *path, *exact, *loose;
    bool unclear;
  };
  const Row rows[] = {
      {"", "", "", false},
      {"/", "", "", false},
      {"/Acme/x", "/Acme/x", "/acme/x", false},
      {"/acme/", "/acme", "/acme", false},
      {"/%61cme/%7e%2D", "/acme/~-", "/acme/~-", false},
      {"/a%c3%bcb", "/a%C3%BCb", "/a\u00fcb", false},
      {"/a\u00fcb", "/a%C3%BCb", "/a\u00fcb", false},
      {"/%40a+b%20c", "/%40a+b%20c", "/@a+b c", false},
      {"/x/../acme/./y", "/acme/y", "/acme/y", false},
      {"/x/%2e%2E/acme", "/acme", "/acme", false},
      {"/../acme", "/acme", "/acme", false},
      {"/acme/..", "", "", false},
      {"/acme/...", "/acme/...", "/acme/...", false},
      {"/a%2fb", "/a%2Fb", "/a/b", true},
      {"/a%5Cb", "/a%5Cb", "/a\\b", true},
      {"/%2561", "/%2561", "/%61", true},
      {"/a//b", "/a//b", "/a//b", true},
      {"/a\\b", "/a/b", "/a/b", true},
      {"\\a", "/a", "/a", true},
      {"/a;b", "/a;b", "/a;b", true},
      {"/a%4", "/a%254", "/a%4", true},
      {"/a%1f", "/a%1F", "/a\x1f", true},
  };
  for (const Row& row : rows) {
    INFO(row.path);
    const UrlPath path(row.path);
    CHECK(path.exact == row.exact);
    CHECK(path.loose == row.loose);
    CHECK(path.unclear == row.unclear);
  }
}

TEST_CASE("A host with a path means what lies below it, and what may lie there") {
  const auto policies =
      MustCompile(OneRule("{hosts: [github.com/acme/, 'docs.example/\u00FCber', all.example/x, all.example, all.example/y]}", "redact"));
  struct Row {
    std::string text, out;
  };
  const Row rows[] = {
      {"see https://github.com/acme.", "see [URL]."},
      {"https://github.com/acme/repo/issues/1?x=y", "[URL]"},
      {"github.com/acme", "[URL]"},
      {"www.GITHUB.com:443/acme/#readme", "[URL]"},
      {"https://user@github.com/acme?x", "[URL]"},
      {"[x](https://github.com/acme)", "[x]([URL])"},
      {"**https://github.com/acme**", "**[URL]"},
      {"_github.com/acme_", "[URL]"},
      {"https://github.com/%61cme/x", "[URL]"},
      {"https://github.com/ACME", "[URL]"},
      {"https://github.com/x/../acme", "[URL]"},
      {"https://github.com/x/%2e%2E/acme/y", "[URL]"},
      {"https://github.com\\acme", "[URL]"},
      {"https://github.com//acme", "[URL]"},
      {"https://github.com/x%2F..%2Facme", "[URL]"},
      {"https://github.com/%2561cme", "[URL]"},
      {"https://github.com/x;y/z", "[URL]"},
      {"https://github.com/x(/../acme", "[URL](/../acme"},
      {"https://github.com/x\u00e9/../acme", "[URL]\u00e9/../acme"},
      {"https://github.com/x\u00e9/%2E./acme", "[URL]\u00e9/%2E./acme"},
      {"https://github.com/" + std::string(600, 'a'), "[URL]" + std::string(88, 'a')},
      {"https://github.com/x(" + std::string(511, 'a'), "[URL](" + std::string(511, 'a')},
      {"https://docs.example/%c3%bcber/1", "[URL]"},
      {"https://docs.example/\u00FCber", "[URL]\u00FCber"},
      {"https://all.example/other", "[URL]"},
      {"https://acme.example/r?u=https://github.com/acme ok", "https://acme.example/r?u=[URL] ok"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(MustFilter(*policies, row.text).text == row.out);
  }
  for (const std::string& text : std::vector<std::string>{
           "https://github.com", "https://github.com/", "https://github.com/acme-evil", "https://github.com/other/acme",
           "https://github.com/?q=/acme", "https://github.com/other#/acme", "https://github.com/acme/../other", "github.community/acme",
           "https://acme.example/github.com/acme", "[x](https://github.com/other),(https://acme.example//acme)",
           "{\"u\":\"https://github.com/other\",\"v\":\"" + std::string(600, 'b') + "\"}", "https://github.com/x(" + std::string(500, 'a'),
           "https://docs.example/ber"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
}

TEST_CASE("A host with a path is excepted only where nobody can read the path otherwise") {
  const auto policies = MustCompile(OneRule("{hosts_except: [github.com/acme, ok.example]}", "redact"));
  for (const std::string& text : std::vector<std::string>{
           "https://github.com/acme", "see https://github.com/acme/repo.", "(https://github.com/acme/x)", "https://github.com/acme/...",
           "https://github.com/x/../acme", "https://github.com/%61cme", "https://github.com/acme?x=/../y", "https://ok.example/a//b;c",
           "**https://github.com/acme**", "_https://github.com/acme_", "https://github.com/acme\uFF0C\u8C22\u8C22",
           "{\"u\":\"https://github.com/acme\",\"v\":\"" + std::string(600, 'b') + "\"}",
           "{\\\"u\\\":\\\"https://github.com/acme\\\",\\\"v\\\":1}"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
  struct Row {
    std::string text, out;
  };
  const Row rows[] = {
      {"https://github.com", "[URL]"},
      {"https://github.com/other", "[URL]"},
      {"https://github.com/acme-evil", "[URL]"},
      {"https://github.com/ACME", "[URL]"},
      {"https://github.com/acme/../other", "[URL]"},
      {"https://github.com/acme/%2e%2e/other", "[URL]"},
      {"https://github.com/acme/..", "[URL].."},
      {"https://github.com/acme/x%2f..%2f..%2fother", "[URL]"},
      {"https://github.com/acme//x", "[URL]"},
      {"https://github.com\\acme", "[URL]"},
      {"https://github.com/acme/x(/../../other", "[URL](/../../other"},
      {"https://github.com/acme/x\"/../../other", "[URL]\"/../../other"},
      {"https://github.com/acme/\u00e9/..\\../other", "[URL]\u00e9/..\\../other"},
      {"https://github.com/acme/" + std::string(600, 'a'), "[URL]" + std::string(93, 'a')},
      {"https://github.com/acme(" + std::string(600, 'a'), "[URL](" + std::string(600, 'a')},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(MustFilter(*policies, row.text).text == row.out);
  }
}

TEST_CASE("Hosts come from named lists, also long ones") {
  const std::string lists =
      "version: 1\nname: t\nlists: {paste: [pastebin.com, github.com/acme], ours: ok.example, bad: [two words]}\nrules:\n";
  const auto of_lists = [&](const char* detect) { return lists + "  - {id: r, detect: " + detect + ", do: redact}\n"; };
  const auto listed = MustCompile(of_lists("{hosts: {list: paste}}"));
  CHECK(MustFilter(*listed, "pastebin.com/x github.com/acme github.com/x ok.example").text == "[URL] [URL] github.com/x ok.example");
  CHECK(listed->Describe()[0].detect == "hosts: list paste");
  const auto except = MustCompile(of_lists("{hosts_except: {list: [paste, ours]}}"));
  CHECK(MustFilter(*except, "https://pastebin.com/x https://ok.example https://x.example").text ==
        "https://pastebin.com/x https://ok.example [URL]");
  CHECK(CompileError(of_lists("{hosts: {list: past}}")).find("did you mean 'paste'") != std::string::npos);
  CHECK(CompileError(of_lists("{hosts: {list: bad}}")).find("'two words' is no host") != std::string::npos);
  CHECK(CompileError(of_lists("{hosts: {}}")).find("{list: NAME}") != std::string::npos);

  std::string file = "# ours\n";
  for (int i = 0; i < 50000; ++i) file += "host" + std::to_string(i) + (i % 2 == 0 ? ".example\n" : ".example/team\n");
  const auto bundle =
      WriteBundle("version: 1\nname: t\nlists: {many: {file: hosts.txt}}\nrules:\n  - {id: r, detect: {hosts: {list: many}}, do: redact}\n",
                  std::vector<Bundle::File>{{"hosts.txt", file}});
  REQUIRE(bundle.ok());
  const auto many = MustCompile(*bundle);
  CHECK(MustFilter(*many, "host49998.example/x host49999.example/team/x host49999.example host50000.example").text ==
        "[URL] [URL] host49999.example host50000.example");
}

TEST_CASE("A stream lets no byte of a listed URL out, wherever it is cut") {
  const std::string text =
      "See https://user:pw@www.pastebin.com:80/raw?x=1, pastebin.com/a. and https://acme.example/r?u=//pastebin.com/b or "
      "p\u0430stebin.com; not "
      "notpastebin.com. [i](https://evil.example/?d=1) www.acme.example https://acme.example.evil.example. (https://acme.example/r)\u8C22 "
      "https://pastebin.com/x(/../raw \"https://acme.example/r\u00e9/../x\", **https://acme.example/r/..** pastebin.com/b%2Fraw";
  for (const char* detect :
       {"{hosts: pastebin.com}", "{hosts_except: acme.example}", "{hosts: [pastebin.com/raw]}", "{hosts_except: acme.example/r}"}) {
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
       {"https://x.example", "'*.x.example'", "'x.example:80'", "'x.example:80/a'", "a@b.example", "' '", "'.x.example'", "/a"}) {
    INFO(entry);
    CHECK(CompileError(OneRule("{hosts: [ok.example, " + std::string(entry) + "]}", "block")).find("is no host") != std::string::npos);
  }
  for (const char* entry :
       {"'x.example/a?b=c'", "'x.example/a#b'", "x.example//a", "x.example/a%2Fb", "'x.example/a;b'", "'x.example/a\\b'"}) {
    INFO(entry);
    CHECK(CompileError(OneRule("{hosts: [ok.example, " + std::string(entry) + "]}", "block")).find("not read alike") != std::string::npos);
  }
  CHECK(CompileError(OneRule("{hosts_except: a.example, decode: both}", "block")).find("'decode'") != std::string::npos);
  CHECK(MustCompile(OneRule("{hosts: a.example}", "block"))->Describe()[0].hold_bytes_max < 4096);
}

}  // namespace tollgate::policy
