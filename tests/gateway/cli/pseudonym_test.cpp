#include "tests/gateway/cli/fake_services.h"

TEST_CASE("What a pseudonym stands for is shown with a reason, where it cannot pass for the program's own lines") {
  Server server;
  const Result shown = server.Run({"audit", "pseudonym", "show", "[EMAIL_7Q2K9FXM]", "--team", "search", "--reason", "complaint 77"});
  CHECK(shown.code == 0);
  CHECK(shown.out == "[EMAIL_7Q2K9FXM] stands for\n  | bob@example.com\n  | ?[2J\n");
  CHECK(server.audit.pseudonym.team() == "search");
  CHECK(server.audit.pseudonym.reason() == "complaint 77");
  CHECK(server.Run({"audit", "pseudonym", "show", "[EMAIL_7Q2K9FXM]", "--team", "search"}).code != 0);
}

TEST_CASE("Pseudonyms are forgotten by end user, by value or one by one, and never for no reason") {
  Server server;
  const std::vector<std::string> erase = {"audit", "pseudonym", "erase", "--team", "search", "--reason", "wish"};
  const auto with = [&](std::initializer_list<std::string> more) {
    std::vector<std::string> args = erase;
    args.insert(args.end(), more);
    return server.Run(args);
  };
  CHECK(with({"--end-user", "anna"}).out == "2 pseudonyms of team search can be told no more\n");
  CHECK(server.audit.erased.end_user() == "anna");
  CHECK(with({"--value", "bob@example.com"}).code == 0);
  CHECK(server.audit.erased.value() == "bob@example.com");
  CHECK(with({"--pseudonym", "[EMAIL_7Q2K9FXM]"}).code == 0);
  CHECK(server.audit.erased.pseudonym() == "[EMAIL_7Q2K9FXM]");
  CHECK(with({}).code != 0);
  CHECK(with({"--end-user", "anna", "--value", "x"}).code != 0);
}
