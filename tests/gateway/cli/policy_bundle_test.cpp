// Policies of several files on the command line, and bundles: made, signed, verified, applied from a file and from a URL.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <filesystem>

#include "base/ed25519.h"
#include "base/encoding.h"
#include "tests/gateway/cli/fake_services.h"
#include "tests/support/ed25519_pair.h"
#include "tests/support/scripted_upstream.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Folder {
  Folder() {
    std::filesystem::create_directory(dir.path() + "/lists");
    Write("acme.yaml",
          "version: 1\nname: acme\ninclude: shared.yaml\nlists: {rivals: {file: lists/rivals.txt}}\nrules:\n"
          "  - {id: r, detect: {list: rivals}, do: block}\n");
    Write("shared.yaml", "version: 1\nlists: {more: {file: lists/more.txt}}\nrules:\n  - {id: m, detect: {list: more}, do: flag}\n");
    Write("lists/rivals.txt", "globex\n");
    Write("lists/more.txt", "hooli\n");
    Write("security.pem", keys.private_pem);
    Write("public.pem", keys.public_pem);
    Write("other.pem", test::MakeEd25519Pair().public_pem);
  }
  void Write(const std::string& name, const std::string& text) { REQUIRE(base::WriteFileAtomically(At(name), text, 0600).ok()); }
  std::string At(const std::string& name) const { return dir.path() + "/" + name; }

  test::TempDir dir;
  const test::Ed25519Pair keys = test::MakeEd25519Pair();
};

}  // namespace

TEST_CASE("A policy goes with the files that it includes, and one that is not there is told with its place") {
  Folder in;
  const Result found = RunLine({"policy", "explain", in.At("acme.yaml"), "--input", "Globex and hooli"});
  INFO(found.err);
  CHECK_THAT(found.out, ContainsSubstring("input: block by r; noted by m"));
  Server server;
  REQUIRE(server.Run({"policy", "put", in.At("acme.yaml")}).code == kDone);
  CHECK_THAT(server.policy.put.yaml(), ContainsSubstring("--- # file: lists/rivals.txt\nglobex\n"));
  std::filesystem::remove(in.At("lists/more.txt"));
  CHECK_THAT(RunLine({"policy", "lint", in.At("acme.yaml")}).err,
             ContainsSubstring("\n" + in.At("shared.yaml") + ":2:22: the file 'lists/more.txt' did not come along"));
}

TEST_CASE("A bundle is made, signed and verified with no server") {
  Folder in;
  const std::string bundle = in.At("acme.bundle");
  const Result made = RunLine({"policy", "bundle", in.At("acme.yaml"), "--bundle-version", "7", "--out", bundle});
  INFO(made.err);
  REQUIRE(made.code == kDone);
  const std::vector<std::string> verify = {"policy", "verify", bundle, "--trust", "security=" + in.At("public.pem")};
  const Result naked = RunLine(verify);
  CHECK(naked.code == kRefused);
  CHECK_THAT(naked.err, ContainsSubstring("is not signed"));
  REQUIRE(RunLine({"policy", "sign", bundle, "--key", in.At("security.pem"), "--signer", "security"}).code == kDone);
  const Result good = RunLine(verify);
  CHECK(good.code == kDone);
  CHECK_THAT(good.out, ContainsSubstring("bundle acme 7: signed by security"));
  CHECK(RunLine({"policy", "verify", bundle, "--trust", "security=" + in.At("other.pem")}).code == kRefused);
  CHECK(RunLine({"policy", "verify", bundle, "--trust", "else=" + in.At("public.pem")}).code == kRefused);
  std::string text = *base::ReadFile(bundle);
  text.replace(text.find("globex"), 6, "gl0bex");
  in.Write("acme.bundle", text);
  const Result changed = RunLine(verify);
  CHECK(changed.code == kRefused);
  CHECK_THAT(changed.err, ContainsSubstring("the bundle was changed"));
  CHECK(RunLine({"policy", "bundle", bundle, "--bundle-version", "8"}).code == kUsage);
  CHECK(RunLine({"policy", "sign", in.At("acme.yaml"), "--key", in.At("security.pem"), "--signer", "security"}).code == kUsage);
  CHECK(RunLine({"policy", "sign", bundle, "--key", in.At("public.pem"), "--signer", "security"}).code == kUsage);
}

TEST_CASE("A bundle is applied as it is, and the org says whom it trusts") {
  Folder in;
  Server server;
  const std::string bundle = in.At("acme.bundle");
  REQUIRE(RunLine({"policy", "bundle", in.At("acme.yaml"), "--bundle-version", "7", "--out", bundle}).code == kDone);
  const Result applied = server.Run({"policy", "apply", "--bundle", bundle});
  INFO(applied.err);
  CHECK(applied.code == kDone);
  CHECK(server.policy.put.name() == "acme");
  CHECK(server.policy.put.yaml() == *base::ReadFile(bundle));
  CHECK(server.Run({"policy", "apply", "--bundle", in.At("acme.yaml")}).code == kUsage);
  CHECK(server.Run({"policy", "apply", "--bundle", "http://127.0.0.1:1/acme.bundle"}).code == kUnavailable);  // Nobody listens there.
  const Result trusted = server.Run({"policy", "signers", "--add", "security=" + in.At("public.pem"), "--require", "on"});
  INFO(trusted.err);
  CHECK(trusted.code == kDone);
  CHECK(server.policy.signers.add(0).public_key() == in.keys.public_pem);
  CHECK(server.policy.signers.required());
  CHECK_THAT(server.Run({"policy", "signers", "--add", "security=" + in.At("security.pem")}).err, ContainsSubstring("is a private one"));
  CHECK(server.Run({"policy", "signers", "--add", in.At("public.pem")}).code == kUsage);
}

TEST_CASE("A bundle comes from a URL as it is, and one that was changed on the way, or is none, is told") {
  Folder in;
  const std::string file = in.At("acme.bundle");
  REQUIRE(RunLine({"policy", "bundle", in.At("acme.yaml"), "--bundle-version", "7", "--out", file}).code == kDone);
  REQUIRE(RunLine({"policy", "sign", file, "--key", in.At("security.pem"), "--signer", "security"}).code == kDone);
  const std::string bundle = *base::ReadFile(file);
  std::string changed = bundle;
  changed.replace(changed.find("globex"), 6, "gl0bex");
  test::ScriptedUpstream files([&](test::ScriptedUpstream::Exchange& exchange) {
    const std::string& path = exchange.request().path;
    if (path == "/acme.bundle") return exchange.Reply(200, bundle);
    if (path == "/changed.bundle") return exchange.Reply(200, changed);
    if (path == "/acme.yaml") return exchange.Reply(200, *base::ReadFile(in.At("shared.yaml")));
    if (path == "/down.bundle") return exchange.Reply(503, "later");
    if (path == "/huge.bundle") return exchange.Reply(200, std::string(5 << 20, '#'));
    if (path == "/half.bundle") {
      exchange.Begin();
      exchange.Write(bundle.substr(0, bundle.size() / 2));
      return exchange.Cut();
    }
    exchange.Reply(404, "no such file");
  });
  const auto verify = [&](const std::string& name, const std::string& key = "public.pem") {
    return RunLine({"policy", "verify", files.url() + "/" + name, "--trust", "security=" + in.At(key)});
  };
  const Result good = verify("acme.bundle");
  INFO(good.err);
  CHECK(good.code == kDone);
  CHECK_THAT(good.out, ContainsSubstring("bundle acme 7: signed by security"));
  const Result broken = verify("changed.bundle");
  CHECK(broken.code == kRefused);
  CHECK_THAT(broken.err, ContainsSubstring("the bundle was changed"));
  CHECK(verify("acme.bundle", "other.pem").code == kRefused);
  CHECK(verify("acme.yaml").code == kRefused);  // Signed by nobody.

  Server server;
  const auto apply = [&](const std::string& name) { return server.Run({"policy", "apply", "--bundle", files.url() + "/" + name}); };
  const Result applied = apply("acme.bundle");
  INFO(applied.err);
  CHECK(applied.code == kDone);
  CHECK(server.policy.put.name() == "acme");
  CHECK(server.policy.put.yaml() == bundle);  // To the byte: the gateway looks at the signature.
  server.policy.put.Clear();
  const std::tuple<const char*, int, const char*> rows[] = {{"none.bundle", kRefused, "the server answered 404"},
                                                            {"down.bundle", kUnavailable, "the server answered 503"},
                                                            {"huge.bundle", kUsage, "more than 4 MiB came"},
                                                            {"half.bundle", kUnavailable, "half.bundle"},
                                                            {"acme.yaml", kUsage, "this is a policy and no bundle"}};
  for (const auto& [name, code, says] : rows) {
    INFO(name);
    const Result refused = apply(name);
    CHECK(refused.code == code);
    CHECK_THAT(refused.err, ContainsSubstring(says));
  }
  CHECK(server.policy.put.yaml().empty());  // Nothing of these reached the gateway.
}
