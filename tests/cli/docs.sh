# the committed pages are those of the tables
cd "$DATA/../../docs"
for kind in passes ops formats; do "$PARE" docs $kind | diff - $kind.md >/dev/null && echo "$kind.md is up to date" || echo "run make docs: $kind.md"; done
"$PARE" docs recipe-schema | diff - recipe.schema.json >/dev/null && echo "recipe.schema.json is up to date" || echo "run make docs: recipe.schema.json"
"$PARE" docs report-schema | diff - report.schema.json >/dev/null && echo "report.schema.json is up to date" || echo "run make docs: report.schema.json"
"$PARE" docs measure-schema | diff - measure.schema.json >/dev/null && echo "measure.schema.json is up to date" || echo "run make docs: measure.schema.json"
"$PARE" docs man | diff - pare.1 >/dev/null && echo "pare.1 is up to date" || echo "run make docs: pare.1"
"$PARE" docs profile-schema | diff - profile.schema.json >/dev/null && echo "profile.schema.json is up to date" || echo "run make docs: profile.schema.json"
