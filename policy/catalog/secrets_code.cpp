// Code hosts, registries and build services give their tokens prefixes precisely so that scanners can find them.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/secrets.h"

namespace tollgate::policy {
namespace {

constexpr SecretKind kRows[] = {
    {"github_pat", "github_token", R"(\bghp_[A-Za-z0-9]{36,80})", 3},
    {"github_oauth_token", "github_token", R"(\bgho_[A-Za-z0-9]{36,80})", 3},
    {"github_app_token", "github_token", R"(\bgh[us]_[A-Za-z0-9]{36,80})", 3},
    {"github_refresh_token", "github_token", R"(\bghr_[A-Za-z0-9]{36,80})", 3},
    {"github_fine_grained_pat", "github_token", R"(\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})", 3},
    {"gitlab_pat", "gitlab_token", R"(\bglpat-[A-Za-z0-9_-]{20,64}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?)", 3},
    {"gitlab_deploy_token", "gitlab_token", R"(\bgldt-[A-Za-z0-9_-]{20,64})", 3},
    {"gitlab_runner_token", "gitlab_token", R"(\bglrtr?-[A-Za-z0-9_-]{20,64}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9})?)", 3},
    {"gitlab_feature_flags_token", "gitlab_token", R"(\bglffct-[A-Za-z0-9_-]{20,64})", 3},
    {"gitlab_workspace_token", "gitlab_token", R"(\bglwt-[A-Za-z0-9_-]{20,64})", 3},
    {"gitlab_ci_job_token", "gitlab_token", R"(\bglcbt-[A-Za-z0-9]{1,5}_[A-Za-z0-9_-]{20,64})", 3},
    {"gitlab_trigger_token", "gitlab_token", R"(\bglptt-[a-f0-9]{40})", 3},
    {"gitlab_feed_token", "gitlab_token", R"(\bglft-[A-Za-z0-9_-]{20,64})", 3},
    {"gitlab_scim_token", "gitlab_token", R"(\bglsoat-[A-Za-z0-9_-]{20,64})", 3},
    {"gitlab_incoming_mail_token", "gitlab_token", R"(\bglimt-[A-Za-z0-9_-]{25})", 3},
    {"gitlab_agent_token", "gitlab_token", R"(\bglagent-[A-Za-z0-9_-]{50,300})", 3},
    {"gitlab_oauth_secret", "gitlab_token", R"(\bgloas-[A-Za-z0-9_-]{64})", 3.2},
    {"gitlab_runner_registration_token", "gitlab_token", R"(\bGR1348941[A-Za-z0-9_-]{20})", 3.2},
    {"bitbucket_app_password", "", R"(\bATBB[A-Za-z0-9]{32}\b)", 3.4},
    {"bitbucket_repository_token", "", R"(\bATCTT3xFfG[A-Za-z0-9+/=_-]{160,240}=[A-F0-9]{8})", 3.5},
    {"atlassian_api_token", "", R"(\bATATT3xFfG[A-Za-z0-9+/=_-]{160,240}=[A-F0-9]{8})", 3.5},
    {"sourcegraph_token", "", R"(\bsgp_(?:(?:[a-f0-9]{16}|local)_)?[a-f0-9]{40}\b)", 3},
    {"npm_token", "", R"(\bnpm_[A-Za-z0-9]{36})", 3},
    {"npmrc_auth_token", "", R"(:_authToken=[A-Za-z0-9_-]{20,128})", 3.2, AcceptMixedToken},
    {"pypi_token", "", R"(\bpypi-AgE[A-Za-z0-9_-]{50,240})", 3},
    {"rubygems_api_key", "", R"(\brubygems_[a-f0-9]{48})", 3},
    {"crates_io_token", "", R"(\bcio[A-Za-z0-9]{32}\b)", 3.4},
    {"nuget_api_key", "", R"(\boy2[a-z0-9]{43}\b)", 3.4},
    {"docker_pat", "", R"(\bdckr_pat_[A-Za-z0-9_-]{27})", 3.2},
    {"docker_org_token", "", R"(\bdckr_oat_[A-Za-z0-9_-]{27,32})", 3.2},
    {"docker_config_auth", "", R"("auth"\s{0,3}:\s{0,3}"[A-Za-z0-9+/]{20,400}={0,2}")", 3.5},
    {"clojars_token", "", R"(\bCLOJARS_[a-z0-9]{60})", 3.4},
    {"packagist_token", "", R"(\bpackagist_[ou][ru]t_[a-f0-9]{68})", 3},
    {"jfrog_api_key", "", R"(\bAKCp[A-Za-z0-9]{69}\b)", 3.5},
    {"jfrog_reference_token", "", R"(\bcmVmdGtu[A-Za-z0-9]{56})", 3.5},
    {"circleci_pat", "", R"(\bCCIPAT_[A-Za-z0-9]{22}_[a-f0-9]{40})", 3.2},
    {"circleci_project_token", "", R"(\bCCIPRJ_[A-Za-z0-9]{22}_[a-f0-9]{40})", 3.2},
    {"buildkite_token", "", R"(\bbk(?:ua|at|ct)_[a-f0-9]{40}\b)", 3},
    {"octopus_deploy_api_key", "", R"(\bAPI-[A-Z0-9]{26,32}\b)", 3.2, AcceptMixedToken},
    {"pulumi_token", "", R"(\bpul-[a-f0-9]{40})", 3},
    {"prefect_api_key", "", R"(\bpn[ub]_[A-Za-z0-9]{36})", 3.2},
    {"postman_api_key", "", R"(\bPMAK-[a-f0-9]{24}-[a-f0-9]{34})", 3},
    {"readme_api_key", "", R"(\brdme_[a-z0-9]{70})", 3.4},
    {"sonar_token", "", R"(\bsq[pua]_[a-f0-9]{40})", 3},
    {"harness_pat", "", R"(\b[ps]at\.[A-Za-z0-9_-]{22}\.[a-f0-9]{24}\.[A-Za-z0-9]{20}\b)", 3.4},
    {"infracost_api_key", "", R"(\bico-[A-Za-z0-9]{32}\b)", 3.2},
    {"launchdarkly_sdk_key", "", R"(\b(?:sdk|api|mob)-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}\b)", 3},
    {"endor_labs_key", "", R"(\bendr\+[A-Za-z0-9-]{16}\b)", 3},
    {"ionic_token", "", R"(\bion_[A-Za-z0-9]{42}\b)", 3.4},
    {"zuplo_api_key", "", R"(\bzpka_[a-f0-9]{32}_[a-f0-9]{8})", 3},
};

}  // namespace

std::span<const SecretKind> CodeSecrets() { return kRows; }

}  // namespace tollgate::policy
