// Commands against services that answer from memory: what is asked, what is printed, and what an error looks like.
#include <cstdlib>
#include <filesystem>
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "gateway/cli/remote.h"
#include "tests/gateway/cli/fake_services.h"
#include "tests/support/certificates.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Lists are asked to the last page and printed as a table, or as JSON") {
  Server server;
  const Result table = server.Run({"team", "list", "--org", "acme"});
  CHECK(table.code == kDone);
  CHECK(table.out == "ORG   TEAM     STATE  RECORD\nacme  search   open   1/2\nacme  support  open   1/2\n");
  CHECK(server.directory.bearer == "Bearer secret");
  const Result json = server.Run({"--json", "team", "list"});
  CHECK_THAT(json.out, ContainsSubstring("\"name\": \"support\"") && ContainsSubstring("\"blocked\": false"));
}

TEST_CASE("A key's text stands alone on standard output") {
  Server server;
  const Result result = server.Run(
      {"key", "create", "search/web", "--name", "ci", "--role", "finance", "--role", "auditor", "--expires", "90d", "--owner", "ann"});
  CHECK(result.code == kDone);
  CHECK(result.out == "tg_live_abc\n");
  CHECK_THAT(result.err, ContainsSubstring("key abcdefgh"));
  CHECK(server.directory.create_key.team() == "search");
  CHECK(server.directory.create_key.project() == "web");
  CHECK(server.directory.create_key.roles_size() == 2);
  CHECK(server.directory.create_key.expires_in_s() == 90 * 86400);
}

TEST_CASE("Keys are listed without their text, the dead ones on demand") {
  Server server;
  const Result list = server.Run({"key", "list", "search/web"});
  CHECK(list.code == kDone);
  CHECK(server.directory.list_keys.team() == "search");
  CHECK(server.directory.list_keys.project() == "web");
  CHECK_THAT(list.out, ContainsSubstring("abcdefgh  acme/search/web  ci    ann    member") && ContainsSubstring("good"));
  CHECK_THAT(server.Run({"key", "list", "--all"}).out, ContainsSubstring("zyxwvuts") && ContainsSubstring("revoked"));
  CHECK_THAT(server.Run({"--json", "key", "list"}).out, ContainsSubstring("\"public_id\": \"abcdefgh\""));
}

TEST_CASE("A rotated key's successor is told as a new key is, and how long the old one goes on") {
  Server server;
  const Result rotated = server.Run({"key", "rotate", "abcdefgh", "--overlap", "2h"});
  CHECK(rotated.code == kDone);
  CHECK(rotated.out == "tg_live_new\n");
  CHECK_THAT(rotated.err, ContainsSubstring("the old key abcdefgh goes on working for 2h") && ContainsSubstring("key newkeyid"));
  CHECK(server.directory.rotate_key.public_id() == "abcdefgh");
  CHECK(server.directory.rotate_key.overlap_s() == 7200);
  CHECK_THAT(server.Run({"key", "rotate", "abcdefgh", "--now"}).err, ContainsSubstring("the old key abcdefgh has ended"));
  CHECK(server.directory.rotate_key.overlap_s() == 0);
}

TEST_CASE("A key is revoked with a reason") {
  Server server;
  const Result revoked = server.Run({"key", "revoke", "abcdefgh", "--reason", "leaked"});
  CHECK(revoked.code == kDone);
  CHECK(revoked.out == "key abcdefgh is revoked (record 1/9); refused everywhere within a second, running streams too\n");
  CHECK(server.directory.revoke_key.public_id() == "abcdefgh");
  CHECK(server.directory.revoke_key.reason() == "leaked");
}

TEST_CASE("Limits are set on the scope that is named, and shown with those above it") {
  Server server;
  CHECK(server.Run({"quota", "set", "tokens/month", "2000000", "--project", "search/web"}).out ==
        "set: 2,000,000 tokens/month of /search/web (record ); in force everywhere within a second\n");
  CHECK(server.directory.set_quota.window() == v1::QUOTA_WINDOW_MONTH);
  CHECK(server.Run({"quota", "set", "concurrent", "4", "--key-id", "abcdefgh"}).code == kDone);
  CHECK(server.directory.set_quota.scope().key() == "abcdefgh");
  const Result shown = server.Run({"quota", "show", "--project", "search/web"});
  CHECK_THAT(shown.out, ContainsSubstring("acme/search/web") && ContainsSubstring("acme/search  ") && !ContainsSubstring("support"));
  CHECK_THAT(shown.out, ContainsSubstring("1,250  2026-12-01 00:00:00"));
  CHECK_THAT(shown.out, ContainsSubstring("1,000      -  -"));
  CHECK_THAT(server.Run({"quota", "list"}).out, ContainsSubstring("support"));
  CHECK(server.Run({"quota", "show", "--key-id", "abcdefgh"}).out == shown.out);  // A key of search/web.
  CHECK_THAT(server.Run({"quota", "show", "--key-id", "zzzzzzzz"}).err, ContainsSubstring("there is no key zzzzzzzz in force"));
  CHECK_THAT(server.Run({"quota", "show", "--project", "search/we"}).err, ContainsSubstring("there is no project search/we"));
}

TEST_CASE("A refusal is told with its reason, its rules and when to try again") {
  Server server;
  const Result result = server.Run({"team", "create", "x"});
  CHECK(result.code == kUnavailable);
  CHECK(result.err == "tollgate: team search has used 100 of 100 tokens\n  reason: RATE_LIMITED\n  rules: a.b,c.d\n  try again in: 12 s\n");
  CHECK(result.out.empty());
}

TEST_CASE("A key leaves this machine over TLS, or in the clear where that was asked for, and not otherwise") {
  for (const char* here :
       {"127.0.0.1:8083", "127.8.8.8:1", "localhost:8083", "[::1]:8083", "[::ffff:127.0.0.1]:8083", "unix:/run/x.sock"}) {
    INFO(here);
    CHECK(StaysHere(here));
  }
  for (const char* away : {"gw:8083", "10.0.0.7:8083", "127.0.0.1.evil.example:8083", "localhost.evil:8083", "[2001:db8::1]:8083",
                           "128.0.0.1:1", "dns:///gw:8083", "0.0.0.0:8083"}) {
    INFO(away);
    CHECK_FALSE(StaysHere(away));
    const Result refused = RunLine({"team", "list", "--admin", away, "--key", "secret"});
    CHECK(refused.code == kUsage);
    CHECK_THAT(refused.err, ContainsSubstring("is another machine") && ContainsSubstring("--tls") && !ContainsSubstring("secret"));
  }
  CHECK_THAT(RunLine({"team", "list", "--admin", "gw:1", "--tls", "--plaintext"}).err, ContainsSubstring("excludes"));
  Server server;  // Which 0.0.0.0 leads to as well.
  CHECK(RunLine({"team", "list", "--admin", fmt::format("0.0.0.0:{}", server.port()), "--key", "secret", "--plaintext"}).code == kDone);
  CHECK(server.directory.bearer == "Bearer secret");
}

TEST_CASE("Over TLS an instance is reached through what bears its name, by the authorities that are named") {
  const test::TempDir folder;
  const test::TestAuthority ours(folder, "ours"), other(folder, "other");
  const test::CertificateFiles own = ours.Issue("gateway");
  grpc::SslServerCredentialsOptions ssl;
  ssl.pem_key_cert_pairs.push_back({*base::ReadFile(own.key), *base::ReadFile(own.certificate)});
  Server server(grpc::SslServerCredentials(ssl));
  const Result good = server.Run({"team", "list", "--tls", "--ca", ours.file()});
  INFO(good.err);
  CHECK(good.code == kDone);
  CHECK(server.directory.bearer == "Bearer secret");
  server.directory.bearer.clear();
  const Result stranger = server.Run({"team", "list", "--tls", "--ca", other.file()});
  CHECK(stranger.code == kUnavailable);
  CHECK_THAT(stranger.err, ContainsSubstring("by TLS with a certificate of its name"));
  const Result unread = server.Run({"team", "list", "--tls", "--ca", folder.File("none.pem")});
  CHECK(unread.code == kUsage);
  CHECK_THAT(unread.err, ContainsSubstring("--ca: ") && ContainsSubstring("none.pem"));
  CHECK(server.Run({"team", "list"}).code != kDone);
  CHECK(server.directory.bearer.empty());
}

TEST_CASE("A method that the server does not have is a refusal, not a crash") {
  Server server;
  CHECK(server.Run({"org", "create", "x"}).code == kRefused);
}

TEST_CASE("Records: filters go along, no more rows than asked for, content is indented and tamed") {
  Server server;
  const Result list = server.Run({"audit", "list", "--kind", "deny", "--team", "search", "--limit", "2", "--since", "2026-11-01"});
  CHECK(list.code == kDone);
  CHECK(server.audit.list.kinds(0) == v1::RECORD_KIND_DENY);
  CHECK(server.audit.list.team() == "search");
  CHECK(server.audit.list.from_us() == 1'793'491'200'000'000);
  CHECK_THAT(list.out, ContainsSubstring("1/8") && !ContainsSubstring("1/7"));
  server.audit.verdict.set_action("redact");
  v1::RuleOutcome& rule = *server.audit.verdict.add_rules();
  rule.set_rule_id("keys");
  rule.set_action("redact");
  rule.set_severity("critical");
  rule.mutable_score()->set_unit("bits a character");
  rule.mutable_score()->set_value_thousandths(3684);
  rule.mutable_score()->set_least_thousandths(2500);
  const Result show = server.Run({"audit", "show", "chatcmpl-01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--content", "--reason", "because"});
  CHECK(server.audit.show.request_id() == "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e");
  CHECK(server.audit.show.reason() == "because");
  CHECK_THAT(show.out, ContainsSubstring("      | user: one\n      | two?[2J\n"));
  CHECK_THAT(show.out, ContainsSubstring("      rule keys (critical): redact, 3.7 bits a character (2.5 count)\n"));
  CHECK_THAT(server.Run({"audit", "show", "1/42", "--json"}).out,
             ContainsSubstring("\"severity\": \"critical\"") && ContainsSubstring("\"value_thousandths\": \"3684\""));
  const Result verify = server.Run({"audit", "verify"});
  CHECK(verify.code == kFoundWrong);
  CHECK_THAT(verify.out, ContainsSubstring("record 7: leaf hash differs"));
}

TEST_CASE("Usage is summed, and a difference is found wrong") {
  Server server;
  const Result report = server.Run({"usage", "report", "--by", "project", "--project", "search/web"});
  CHECK(report.code == kDone);
  CHECK(server.usage.report.team() == "search");
  CHECK(server.usage.report.project() == "web");
  CHECK(server.usage.report.group_by() == v1::USAGE_GROUP_PROJECT);
  CHECK_THAT(report.out, ContainsSubstring("(total)         4         2,000          1,000    0.60  EUR"));
  server.usage.amount_nanos = INT64_MAX;
  CHECK_THAT(server.Run({"usage", "report"}).out, ContainsSubstring("1,000  too much  EUR"));
  const Result reconcile = server.Run({"usage", "reconcile"});
  CHECK(reconcile.code == kFoundWrong);
  CHECK_THAT(reconcile.out, ContainsSubstring("1 requests differ; the first: request x"));
}

TEST_CASE("Policies are read from a file or standard input; a blocked text is exit code 1") {
  Server server;
  CHECK(server.Run({"policy", "put", "-", "--name", "acme"}, "rules: []").code == kDone);
  CHECK(server.policy.put.yaml() == "rules: []");
  const std::string file = (std::filesystem::temp_directory_path() / "tg-cli-policy.strict.yaml").string();
  REQUIRE(base::WriteFileAtomically(file, "x", 0600).ok());
  CHECK(server.Run({"policy", "put", file, "--store-only"}).code == kDone);
  CHECK(server.policy.put.name() == "tg-cli-policy");
  CHECK(server.policy.put.store_only());
  std::filesystem::remove(file);
  CHECK_THAT(server.Run({"policy", "activate", "acme", "3"}).out, ContainsSubstring("version 3 is in force"));
  CHECK_THAT(server.Run({"policy", "activate", "acme", "0"}).out, ContainsSubstring("policy acme of  is out of force"));
  CHECK(server.Run({"policy", "test", "--input", "secret"}).code == kRefused);
  CHECK(server.policy.check.messages(0).parts(0) == "secret");
  CHECK(server.Run({"policy", "test", "--output", "x", "--project", "search/web"}).code == kDone);
  CHECK(server.policy.check.team() == "search");
  CHECK(server.policy.check.project() == "web");
  CHECK_THAT(server.Run({"policy", "put", "-", "--name", "acme"}, "\xff").err, ContainsSubstring("- is not UTF-8 text"));
}

TEST_CASE("Stops name what they stop") {
  Server server;
  const Result model = server.Run({"stop", "model", "smollm2", "--reason", "r"});
  CHECK_THAT(model.out, ContainsSubstring("model smollm2 is stopped"));
  CHECK(model.err.empty());
  CHECK_THAT(server.Run({"stop", "everything", "--reason", "r", "--lift"}).out, ContainsSubstring("everything may run again"));
  CHECK_THAT(server.Run({"stop", "team", "search", "--reason", "r", "--org", "acme"}).out, ContainsSubstring("acme/search is stopped"));
}

TEST_CASE("A misspelt name does not look like success") {
  Server server;
  const Result stop = server.Run({"stop", "model", "smolm2", "--reason", "r"});
  CHECK(stop.code == kDone);
  CHECK_THAT(stop.out, ContainsSubstring("model smolm2 is stopped"));
  CHECK(stop.err ==
        "warning: no model smolm2 is served here now (served: smollm2, llama); the stop stays for one that may come. If the name is wrong: "
        "tollgate stop model smolm2 --lift --reason \"wrong name\"\n");
  CHECK(server.Run({"stop", "model", "smolm2", "--reason", "r", "--lift"}).err.empty());
  CHECK_THAT(server.Run({"stop", "model", "smolm2", "--reason", "r", "--json"}).err, ContainsSubstring("warning: "));
  CHECK_THAT(server.Run({"prices", "set", "smolm2", "--input", "1", "--output", "1"}).err,
             ContainsSubstring("no model smolm2 is served here now (served: smollm2, llama)"));
  CHECK_THAT(server.Run({"models", "grant", "smolm2", "--team", "search"}).err,
             ContainsSubstring("To remove the list: tollgate models clear --team search"));
  CHECK(server.Run({"models", "grant", "llama", "--team", "search"}).err.empty());

  const Result team = server.Run({"stop", "team", "serch", "--reason", "r", "--org", "acme"});
  CHECK(team.code == kRefused);
  CHECK(team.err == "tollgate: there is no team 'acme/serch'; nothing was stopped\n  teams of the org: search\n");
  CHECK(team.out.empty());
  CHECK_THAT(server.Run({"stop", "project", "search/we", "--reason", "r"}).err, ContainsSubstring("\n  projects of the team: web\n"));
  CHECK_THAT(server.Run({"stop", "org", "acm", "--reason", "r"}).err, ContainsSubstring("\n  orgs: acme\n"));
  CHECK_THAT(server.Run({"stop", "team", "serch", "--lift", "--reason", "r"}).err,
             ContainsSubstring("see what is stopped: tollgate stop list"));
}

TEST_CASE("A list of prices that is empty says how to set one") {
  Server server;
  CHECK_THAT(server.Run({"prices", "list", "llama"}).out, ContainsSubstring("tollgate prices set llama --input 0.10 --output 0.40"));
}

TEST_CASE("Chat streams the text and tells the rest on standard error") {
  Server server;
  const Result plain = server.Run({"chat", "Why", "blue?", "--seed", "7", "--stop", "a", "--stop", "b"});
  CHECK(plain.code == kDone);
  CHECK(plain.out == "Hello\n");
  CHECK(plain.err.empty());
  CHECK(server.inference.chat.model() == "smollm2");
  CHECK(server.inference.chat.messages(0).parts(0) == "Why blue?");
  CHECK(server.inference.chat.sampling().seed() == 7);
  CHECK(server.inference.chat.stop_size() == 2);
  CHECK(server.Run({"chat", "--stop", "a", "Why?"}).code == kDone);
  CHECK(server.inference.chat.messages(0).parts(0) == "Why?");
  CHECK_THAT(server.Run({"chat", "-"}, "caf\xe9").err, ContainsSubstring("the prompt is not UTF-8 text"));
  const Result verbose = server.Run({"chat", "-v", "-m", "other", "-s", "Be brief.", "-"}, "from a pipe");
  CHECK_THAT(verbose.err, ContainsSubstring("tokens  7 in"));
  CHECK(server.inference.chat.messages(0).role() == v1::ROLE_SYSTEM);
  CHECK(server.inference.chat.messages(1).parts(0) == "from a pipe");
}

TEST_CASE("A chat that policy or a quota cut is exit code 1; one that a minute's limit refused may be asked again") {
  Server server;
  const Result cut = server.Run({"chat", "cut"});
  CHECK(cut.code == kRefused);
  CHECK_THAT(cut.err, ContainsSubstring("[policy ended the reply: block by codename: It is not announced.]"));
  CHECK(server.Run({"chat", "--json", "cut"}).code == kRefused);
  const Result full = server.Run({"chat", "long"});
  CHECK(full.code == kDone);
  CHECK(full.err == "[the reply was cut: prompt and reply fill the model's context, or the defaults of its scope allow no more]\n");
  CHECK(server.Run({"chat", "--max-tokens", "5", "long"}).err == "[the reply was cut at --max-tokens 5]\n");
  const Result spent = server.Run({"chat", "spend"});
  CHECK(spent.code == kRefused);
  CHECK_THAT(spent.err, ContainsSubstring("[a quota ended the reply: project trial]"));
  const Result refused = server.Run({"chat", "-v", "refuse"});
  CHECK(refused.code == kUnavailable);
  CHECK_THAT(refused.err, ContainsSubstring("reason: RATE_LIMITED") && ContainsSubstring("record  1/5"));
}

TEST_CASE("A chat that breaks off behind its first words has cost something: it is not simply asked again") {
  Server server;
  server.inference.breaks = SpentMinute();
  const Result broken = server.Run({"chat", "hello"});
  CHECK(broken.code == kInDoubt);
  CHECK(broken.out == "Hello\n");
}

TEST_CASE("A change whose time is up may have been made; a list whose time is up is asked for again") {
  Server server;
  server.directory.end = grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded");
  const Result made = server.Run({"key", "revoke", "abcdefgh", "--reason", "leaked"});
  CHECK(made.code == kInDoubt);
  CHECK_THAT(made.err, ContainsSubstring("it may have been done all the same: look before you send it again"));
  const Result listed = server.Run({"org", "list"});
  CHECK(listed.code == kUnavailable);
  CHECK_THAT(listed.err, !ContainsSubstring("look before"));
}

TEST_CASE("A request that stands in several lines of a report counts once in its total") {
  Server server;
  for (const auto& [name, first] : {std::pair("request", 100), std::pair("guard", 0)}) {
    auto& line = *server.usage.lines.add_lines();
    line.set_name(name);
    line.set_requests(100);
    line.set_first_requests(first);
    line.set_currency("EUR");
  }
  CHECK_THAT(server.Run({"usage", "report", "--by", "kind"}).out,
             ContainsSubstring("guard         100") && ContainsSubstring("(total)       100"));
}

TEST_CASE("A key of `tollgate dev` goes to its own address and nowhere else") {
  std::string folder = (std::filesystem::temp_directory_path() / "tg-target-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  REQUIRE(base::WriteFileAtomically(folder + "/keys.json",
                                    R"({"keys": [{"name": "owner", "secret": "o"}, {"name": "web", "secret": "w"}]})", 0600)
              .ok());
  REQUIRE(base::WriteFileAtomically(folder + "/endpoints.json", R"({"grpc_port": 5001, "admin_port": 5003, "org": "acme"})", 0600).ok());
  Globals globals;
  globals.folder = folder;
  CHECK(FindTarget(globals, Listener::kAdmin).address == "127.0.0.1:5003");
  CHECK(FindTarget(globals, Listener::kAdmin).key == "o");
  CHECK(FindTarget(globals, Listener::kApi).key == "w");
  CHECK(OrgOf(globals) == "acme");
  globals.admin = "elsewhere:8083";
  CHECK(FindTarget(globals, Listener::kAdmin).key.empty());
  CHECK(OrgOf(globals).empty());
  globals.admin = "127.0.0.1:5003";
  CHECK(FindTarget(globals, Listener::kAdmin).key == "o");
  ::setenv("TOLLGATE_KEY", "e", 1);
  CHECK(FindTarget(globals, Listener::kAdmin).key == "e");
  globals.key = "k";
  CHECK(FindTarget(globals, Listener::kAdmin).key == "k");
  ::unsetenv("TOLLGATE_KEY");
  globals = {};
  globals.folder = folder + "/none";
  CHECK(FindTarget(globals, Listener::kApi).address == "127.0.0.1:8081");
  std::filesystem::remove_all(folder);
}
