mkdir -p fs/none fs/proc fs/sys/class/powercap/intel-rapl:0/intel-rapl:0:0 fs/sys/class/hwmon/hwmon0 fs/sys/class/power_supply/BAT0
machine() { sed -E -e 's/^machine: .*/machine: MACHINE/' -e 's/"(cpu|os|isa|cores|virtual)":.*/"\1": MACHINE/'; }
# a tree without anything, a laptop, one with closed counters
t probe --sysroot=fs/none | machine
cd fs/sys/class/powercap
zone() { mkdir -p "$1" && echo "$2" >"$1/name" && echo "$3" >"$1/energy_uj" && echo 262143328850 >"$1/max_energy_range_uj"; }
rmdir -p intel-rapl:0/intel-rapl:0:0 2>/dev/null
zone intel-rapl:0 package-0 1000
zone intel-rapl:0:0 core 500
zone intel-rapl:0:1 dram 700
zone intel-rapl-mmio:0 package-0 1000
zone intel-rapl:1 psys 9000
cd ../../../..
echo x86_pkg_temp >fs/sys/class/hwmon/hwmon0/name
echo Battery >fs/sys/class/power_supply/BAT0/type
echo Charging >fs/sys/class/power_supply/BAT0/status
printf '4102444800,10\n4102444801,12\n' >plug.csv # not over yet
t probe --sysroot=fs --watts-per-core=4 | machine
t probe --sysroot=fs --json | machine
t probe --sysroot=fs --meter-log=plug.csv | machine | head -12
printf '1767225600,10\n1767225599,12\n' >plug.csv
t probe --sysroot=fs --meter-log=plug.csv # the one line that is wrong, and no page before it
q probe --sysroot=fs --meter-log=nowhere.csv
# what is named must be there
q probe --sysroot=nowhere
q probe --sysroot=plug.csv
q probe --sysroot=fs --sensor=foo
echo 9000000 >fs/sys/class/hwmon/hwmon0/power1_input
q probe --sysroot=fs --sensor=foo
q probe --sysroot=fs --sensor=hwmon0/power1
t probe --sysroot=fs --sensor=hwmon0/power1 | grep -E "ready|used" # though a counter ranks above it
printf '1767225600,10\n1767225601,12\n' >plug.csv
q probe --sysroot=fs --meter-log=plug.csv 2>&1 | sed -E 's/[0-9.e+]+ s ago/SECONDS ago/' # ended
q probe --sysroot=fs --sensor=hwmon0/power1 --meter-log=plug.csv
printf '4102444800,10\n4102444801,12\n' >plug.csv
q probe --meter-log=plug.csv --calibrate -o machine.json
q probe --profile=nowhere.json
echo '{}' >profile.json
q probe --profile=profile.json
q probe --calibrate
q probe -o machine.json
q probe extra
# peaks can be measured anywhere; what they are is not printed
t probe --calibrate --seconds=0.5 --threads=1 -o machine.json | tail -1
grep -c '"mac_f32_one":	[1-9]' machine.json
q probe --profile=machine.json
t list grids | head -6
q list grid
